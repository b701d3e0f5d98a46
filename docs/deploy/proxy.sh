# What the proxy of compose.yaml runs: nginx, with the web service's processes for its servers.
set -e
conf_d=/etc/nginx/conf.d

# Names are asked for again and again: a container that is made anew may have another address.
names=$(sed -n 's/^nameserver *//p' /etc/resolv.conf | head -n 1)
sed -e '/^upstream/,/^}/d' \
    -e "s/server_name .*/server_name _;\n    resolver $names valid=2s ipv6=off;\n    set \$web web:8000;/" \
    -e 's,http://potok;,http://$web;,' \
    /etc/potok/nginx.conf > $conf_d/default.conf

# TLS ends before it then, and who connects is what ends it: that one is believed.
case $POTOK_URL in https://*)
    sed -i -e 's/X-Forwarded-Proto .*/X-Forwarded-Proto https;/' $conf_d/default.conf
    echo 'set_real_ip_from 0.0.0.0/0; real_ip_header X-Forwarded-For;' > $conf_d/forwarded.conf
esac

# Two for each open page.
sed -i -e 's/worker_connections [^;]*/worker_connections 16384/' /etc/nginx/nginx.conf
exec nginx -g 'daemon off;'
