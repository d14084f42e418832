#!/bin/sh
# Makes the secrets of compose.yaml, once: deploy/make-secrets.sh DOMAIN PUBLIC_ADDRESS
#
# They are written to deploy/secrets, which only its owner may enter. The files themselves are
# readable, because a container sees them with these modes and runs as another user. What exists
# is kept. Back up secret_key: it opens what Blab has sealed in the database.
set -eu

if [ $# -ne 2 ]; then
    echo "usage: sh deploy/make-secrets.sh DOMAIN PUBLIC_ADDRESS" >&2
    exit 2
fi
domain=$1 address=$2
cd "$(dirname "$0")/.."
mkdir -p deploy/secrets
chmod 700 deploy/secrets

random() {
    od -An -N32 -tx1 /dev/urandom | tr -d ' \n'
}

keep() { # keep FILE TEXT: write it unless it is there
    if [ ! -e "deploy/secrets/$1" ]; then
        printf '%s\n' "$2" >"deploy/secrets/$1.new"
        chmod 444 "deploy/secrets/$1.new"
        mv "deploy/secrets/$1.new" "deploy/secrets/$1"
    fi
}

kept() { # kept FILE: its text
    cat "deploy/secrets/$1"
}

keep postgres_password "$(random)"
keep secret_key "$(random)"
keep turn_secret "$(random)"
keep s3_password "$(random)"
keep database_url "postgresql://blab:$(kept postgres_password)@postgres:5432/blab"
keep s3.env "ROOT_ACCESS_KEY_ID=blab
ROOT_SECRET_ACCESS_KEY=$(kept s3_password)"
# redirects=false: callers cannot reach the store, so downloads go through Blab.
keep objects_url "s3://blab?endpoint=http://s3:7070&region=us-east-1&access_key_id=blab&secret_access_key=$(kept s3_password)&redirects=false"
# Peers behind the relay may be this machine's public address (Blab), and no private one.
keep turnserver.conf "listening-port=3478
external-ip=$address
min-port=49160
max-port=49359
realm=$domain
use-auth-secret
static-auth-secret=$(kept turn_secret)
fingerprint
no-tls
no-dtls
no-tcp-relay
no-multicast-peers
allowed-peer-ip=$address
denied-peer-ip=0.0.0.0-0.255.255.255
denied-peer-ip=10.0.0.0-10.255.255.255
denied-peer-ip=100.64.0.0-100.127.255.255
denied-peer-ip=127.0.0.0-127.255.255.255
denied-peer-ip=169.254.0.0-169.254.255.255
denied-peer-ip=172.16.0.0-172.31.255.255
denied-peer-ip=192.168.0.0-192.168.255.255
denied-peer-ip=::1
denied-peer-ip=fc00::-fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff
denied-peer-ip=fe80::-febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff
log-file=stdout
simple-log"

printf 'DOMAIN=%s\nPUBLIC_ADDRESS=%s\n' "$domain" "$address" >.env
echo "deploy/secrets and .env are ready"
