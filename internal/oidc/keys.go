package oidc

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	keysFresh = 20 * time.Minute // istiod's default interval of fetching keys again
	keysRetry = time.Second      // after a fetch that failed
	keysWait  = 5 * time.Second  // for a fetch
	keysLimit = 1 << 20          // bytes of a key set
)

// Keys is the key set of an issuer, fetched when it is first needed and kept for a while. It is safe for concurrent use.
type Keys struct {
	uri    string
	client *http.Client

	mu     sync.Mutex
	set    *jose.JSONWebKeySet
	err    error
	expiry time.Time // of set and err
}

// NewKeys prepares the key set at uri. hosts says where the hosts of such addresses really are, as a hosts file does:
// name without port to host:port. No other host is ever asked.
func NewKeys(uri string, hosts map[string]string) *Keys {
	return &Keys{uri: uri, client: &http.Client{
		Timeout:       keysWait,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DisableKeepAlives: true, // fetched so seldom that a kept connection is of no use
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				host, _, err := net.SplitHostPort(addr)
				if err != nil {
					return nil, err
				}
				to, ok := hosts[host]
				if !ok {
					return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
				}
				var d net.Dialer
				return d.DialContext(ctx, network, to)
			},
		},
	}}
}

func (k *Keys) get(ctx context.Context, now time.Time) (*jose.JSONWebKeySet, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if now.Before(k.expiry) {
		return k.set, k.err
	}
	set, err := k.fetch(ctx)
	if ctx.Err() != nil {
		return nil, ctx.Err() // it says nothing about the issuer
	}
	k.set, k.err, k.expiry = set, err, now.Add(keysFresh)
	if err != nil {
		k.expiry = now.Add(keysRetry)
	}
	return k.set, k.err
}

func (k *Keys) fetch(ctx context.Context) (*jose.JSONWebKeySet, error) {
	u, err := url.Parse(k.uri)
	if err != nil {
		return nil, fmt.Errorf("the address of a key set: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("fetching the key set %s: %w", k.uri, err)
	}
	resp, err := k.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("fetching the key set %s: %w", k.uri, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("fetching the key set %s: %s", k.uri, resp.Status)
	}
	set := new(jose.JSONWebKeySet)
	if err := json.NewDecoder(io.LimitReader(resp.Body, keysLimit)).Decode(set); err != nil {
		return nil, fmt.Errorf("reading the key set %s: %w", k.uri, err)
	}
	return set, nil
}
