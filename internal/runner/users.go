package runner

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/meshproof/meshproof/internal/oidc"
	"github.com/meshproof/meshproof/scenarios"
	"github.com/meshproof/meshproof/verify"
)

const (
	// usersPerTraffic is how many users a traffic without sessions is from.
	usersPerTraffic = 8
	// proofToken is for how long the token of a proof request is valid.
	proofToken = 5 * time.Minute
	// spareToken is for how much longer than its profile the token of a traffic is valid.
	spareToken = time.Hour
)

// users are the people outside of the clusters, and the issuer of their tokens. All methods work on nil, which is
// nobody.
type users struct {
	issuer *oidc.Issuer
}

func startUsers(is *scenarios.Issuer) (*users, error) {
	i, err := oidc.Start(scenarios.IssuerURL, is.Audience)
	if err != nil {
		return nil, fmt.Errorf("starting the issuer of tokens: %w", err)
	}
	return &users{i}, nil
}

func (u *users) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeWithin)
	defer cancel()
	return u.issuer.Close(ctx)
}

// hosts says where the issuer is.
func (u *users) hosts() map[string]string {
	return map[string]string{scenarios.IssuerHost: u.issuer.Addr()}
}

// mint makes the token of a proof request; "" for none.
func (u *users) mint(t verify.Token) (string, error) {
	if u == nil {
		return "", fmt.Errorf("the scenario has no issuer, and a token is asked for")
	}
	d := oidc.Defect(t.Kind)
	switch t.Kind {
	case verify.TokenNone:
		return "", nil
	case verify.TokenGood, verify.TokenMissingClaim, verify.TokenWrongClaim:
		d = oidc.Good
	}
	return u.issuer.Mint("prover", t.Claims, proofToken, d)
}

// tokensOf makes the tokens that a traffic carries, valid until well after its end; none without an issuer.
func (u *users) tokensOf(tr scenarios.Traffic) ([]string, error) {
	if u == nil || tr.Token == nil {
		return nil, nil
	}
	valid := spareToken + tr.Profile.Length().D()
	tokens := make([]string, cmp.Or(tr.Sessions, usersPerTraffic))
	for i := range tokens {
		var err error
		if tokens[i], err = u.issuer.Mint(fmt.Sprintf("%s-%d", tr.Name, i+1), tr.Token.Claims, valid, oidc.Good); err != nil {
			return nil, fmt.Errorf("the tokens of traffic %s: %w", tr.Name, err)
		}
	}
	return tokens, nil
}
