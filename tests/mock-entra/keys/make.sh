#!/bin/sh
# Makes the fixture keys anew. Every kid changes with them.
set -eu
cd "$(dirname "$0")"

rsa() {
    openssl genpkey -quiet -algorithm RSA -pkeyopt "rsa_keygen_bits:$2" -out "$1.key.pem"
    openssl req -x509 -new -sha256 -key "$1.key.pem" -subj "/CN=worthless $1" -days 36500 -out "$1.crt.pem"
}

for name in v1 v2 both msa app ciam us-gov china b2c-signin b2c-susi b2c-tfp oidc oidc-pss next-1 next-2 next-3 stranger encryption bridge; do
    rsa "$name" 2048
done
rsa weak 1024
rsa large 4096

for name in ec ec-stranger; do
    openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$name.key.pem"
done
