"""Figures for Prometheus, for whoever has the token."""

import pytest


def test_metrics_are_not_there_without_the_token(server, owner):
    assert owner.get("/metrics").status_code == 404


@pytest.mark.one_form
def test_metrics_count_what_the_process_has_in_hand(start_server, gateway):
    owner = start_server(METRICS_TOKEN="t0ken").visitor().set_up()
    assert owner.get("/metrics", Authorization="Bearer other").status_code == 404
    owner.wait_for_reply(owner.send("Hello"))

    figures = owner.get("/metrics", Authorization="Bearer t0ken")
    assert figures.headers["Content-Type"].startswith("text/plain")
    assert 'potok_replies_ended_total{status="complete"} 1.0' in figures.text
    assert "potok_replies_running 0.0" in figures.text
    assert "potok_sockets_open 0.0" in figures.text
