// Package oidc is the identity of users: an OpenID Connect issuer in this
// process, with a discovery document and a JSON Web Key Set over HTTP on
// 127.0.0.1, and the check of tokens as Envoy's filter jwt_authn makes it for
// an Istio RequestAuthentication. Keys and tokens never leave the memory of
// the process but on the wire; a token is written down by its SHA-256.
package oidc
