"""The application under an ASGI server that isn't `serve`: Daphne's own command."""

import pytest

from tests.server import Server


class Daphne(Server):
    @property
    def arguments(self) -> list[str]:
        where = ["-b", "127.0.0.1", "-p", str(self.port)]
        return ["-m", "daphne", "-v", "0", *where, "chat.asgi:application"]


@pytest.mark.one_form
def test_a_reply_streams_into_a_page(start_server, gateway):
    at_home = start_server()
    owner = at_home.visitor().set_up()
    assert at_home.terminate() == 0
    other = Daphne(at_home.data_dir, at_home.env)
    other.port, other.url = at_home.port, at_home.url
    try:
        other.start()
        gate = gateway.gate()
        gateway.reply("Hello ", gate, "world")
        conversation = owner.send("Say hello")
        gate.wait_reached()
        with owner.socket() as socket:
            assert "hello" in socket.receive()
            socket.say({"watch": {"conversation": conversation, "version": 0}})
            socket.receive_until("Hello")
            gate.open()
            socket.receive_until("world")
            socket.say({"nonsense": 1})
            socket.receive_until("not understood")
        assert owner.wait_for_reply(conversation, "complete")["text"] == "Hello world"
    finally:
        other.close()
