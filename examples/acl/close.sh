#!/usr/bin/env bash
# Closes a cluster: from then on everybody may look services up, and more than that takes a token.
# Asks the agent at REMORA_HTTP_ADDR (127.0.0.1:8500), and prints each token with what it is for.
set -euo pipefail
ADDR=${REMORA_HTTP_ADDR:-127.0.0.1:8500}

remora acl enable > /dev/null
# Whoever is first gets the token that may do everything.
REMORA_TOKEN=$(remora acl bootstrap | awk '$1 == "SecretID:" { print $2 }')
export REMORA_TOKEN

# put PATH < BODY: the secret of what was put, if it has one
put() {
    curl -fsS -X PUT -H "X-Consul-Token: $REMORA_TOKEN" --data-binary @- "http://$ADDR/v1/acl/$1" |
        sed -n 's/.*"SecretID":"\([^"]*\)".*/\1/p'
}

# Who shows no token: services and nodes, over DNS and HTTP, and nothing else.
put policy <<'JSON'
{"Name": "lookup", "Rules": "service_prefix \"\" { policy = \"read\" } node_prefix \"\" { policy = \"read\" }"}
JSON
put token/00000000-0000-0000-0000-000000000002 <<'JSON' > /dev/null
{"Policies": [{"Name": "lookup"}]}
JSON

# The app behind the service `web`: it registers that service, on any agent, and no other.
WEB=$(put token <<'JSON'
{"Description": "web", "ServiceIdentities": [{"ServiceName": "web"}]}
JSON
)

# What the shop keeps below `shop/`, with locks and elections on it; its secrets it only reads.
put policy <<'JSON'
{"Name": "shop", "Rules": "key_prefix \"shop/\" { policy = \"write\" } key_prefix \"shop/secret/\" { policy = \"read\" } session_prefix \"\" { policy = \"write\" }"}
JSON
SHOP=$(put token <<'JSON'
{"Description": "shop", "Policies": [{"Name": "shop"}]}
JSON
)

echo "management $REMORA_TOKEN"
echo "web $WEB"
echo "shop $SHOP"
