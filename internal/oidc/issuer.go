package oidc

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// Paths of the issuer's documents.
const (
	discoveryPath = "/.well-known/openid-configuration" // OpenID Connect Discovery 1.0, section 4
	keysPath      = "/keys"
)

// expiredSince is how long ago an expired token expired: longer than any checker's allowance for clocks that differ.
const expiredSince = 10 * time.Minute

// Issuer is a running issuer. It must be closed.
type Issuer struct {
	url, audience string
	key, foreign  jose.Signer
	listener      net.Listener
	server        *http.Server
	serving       sync.WaitGroup
}

// Start starts an issuer that calls itself url (iss), whose tokens are for audience. Its keys are made anew each time.
func Start(url, audience string) (*Issuer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the issuer's key: %w", err)
	}
	foreign, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a foreign key: %w", err)
	}
	public := jose.JSONWebKey{Key: key.Public(), Algorithm: string(jose.ES256), Use: "sig"}
	thumb, err := public.Thumbprint(crypto.SHA256) // RFC 7638
	if err != nil {
		return nil, fmt.Errorf("naming the issuer's key: %w", err)
	}
	public.KeyID = base64.RawURLEncoding.EncodeToString(thumb)
	i := &Issuer{url: url, audience: audience}
	if i.key, err = signer(key, public.KeyID); err != nil {
		return nil, err
	}
	// Under the name of the real key: only the signature tells.
	if i.foreign, err = signer(foreign, public.KeyID); err != nil {
		return nil, err
	}
	if i.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, fmt.Errorf("opening a port for the issuer: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+discoveryPath, document(map[string]any{
		"issuer": url, "jwks_uri": url + keysPath, "response_types_supported": []string{"id_token"},
		"subject_types_supported": []string{"public"}, "id_token_signing_alg_values_supported": []string{string(jose.ES256)},
	}))
	mux.HandleFunc("GET "+keysPath, document(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{public}}))
	i.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	i.serving.Go(func() { _ = i.server.Serve(i.listener) }) // ends with the listener
	return i, nil
}

func signer(key *ecdsa.PrivateKey, id string) (jose.Signer, error) {
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: id}}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return nil, fmt.Errorf("making a signer: %w", err)
	}
	return s, nil
}

func document(v any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v) // a client that is gone has no use for it
	}
}

// Addr is where the issuer listens: 127.0.0.1 and a port.
func (i *Issuer) Addr() string { return i.listener.Addr().String() }

// Close stops the issuer and waits until it has stopped.
func (i *Issuer) Close(ctx context.Context) error {
	err := i.server.Shutdown(ctx)
	if err != nil {
		err = errors.Join(fmt.Errorf("stopping the issuer: %w", err), i.server.Close())
	}
	i.serving.Wait()
	return err
}

// Defect is what is wrong with a token.
type Defect string

// The defects. Good has none.
const (
	Good          Defect = ""
	Expired       Defect = "expired"
	WrongIssuer   Defect = "wrong-issuer"
	WrongAudience Defect = "wrong-audience"
	Malformed     Defect = "malformed"
	ForeignKey    Defect = "foreign-key" // signed by another key, under the name of the issuer's
)

// Mint makes a token of a user with claims of its own, valid from now on for a time.
func (i *Issuer) Mint(subject string, claims map[string]string, valid time.Duration, d Defect) (string, error) {
	if d == Malformed {
		return "meshproof.malformed", nil
	}
	now := time.Now()
	all := map[string]any{}
	for k, v := range maps.All(claims) {
		all[k] = v
	}
	all["iss"], all["sub"], all["aud"] = i.url, subject, i.audience
	all["iat"], all["exp"] = now.Unix(), now.Add(valid).Unix()
	key := i.key
	switch d {
	case Good:
	case Expired:
		all["iat"], all["exp"] = now.Add(-2*expiredSince).Unix(), now.Add(-expiredSince).Unix()
	case WrongIssuer:
		all["iss"] = i.url + "/another"
	case WrongAudience:
		all["aud"] = i.audience + "-another"
	case ForeignKey:
		key = i.foreign
	default:
		return "", fmt.Errorf("there is no defect %q of tokens", d)
	}
	token, err := jwt.Signed(key).Claims(all).Serialize()
	if err != nil {
		return "", fmt.Errorf("signing a token: %w", err)
	}
	return token, nil
}

// Sum is how a token is written down: the SHA-256 of it in hexadecimal.
func Sum(token string) string {
	s := sha256.Sum256([]byte(token))
	return hex.EncodeToString(s[:])
}
