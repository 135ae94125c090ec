package adminapi

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/proxy/identity"
	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/upstream"
)

const (
	// maxToken bounds a bearer token, in bytes.
	maxToken = 4 << 10
	// metricsTokenLife is how long the proxy's own token is good for at MinIO.
	metricsTokenLife = time.Minute
)

// scrapeClaims are the claims of a token that `mc admin prometheus generate`
// makes: a JWT under HS512 and the secret of the account that it names.
type scrapeClaims struct {
	Issuer  string `json:"iss"`
	Subject string `json:"sub"`
	Expires int64  `json:"exp"` // Unix seconds
}

// minioMetrics passes a scraper on to MinIO's own metrics. The scraper's token is
// verified here and stays here: tokens live for a hundred years, and MinIO gets
// one of a minute. A request without one is passed on without: it may be that
// MinIO shows metrics to everybody.
func (a *API) minioMetrics(w http.ResponseWriter, r *intake.Request) error {
	header := make(storage.Metadata, 8)
	if values, ok := r.Header["Authorization"]; ok {
		claims, pair, err := a.verifyScraper(r, values)
		if err != nil {
			return err
		}
		r.Caller = intake.Caller{AccessKey: claims.Subject}
		claims.Subject, claims.Expires = pair.AccessKey, min(claims.Expires, time.Now().Add(metricsTokenLife).Unix())
		header.Set("Authorization", "Bearer "+signToken(claims, pair.SecretKey))
	}
	actor := r.Actor() // of whom MinIO sees the token, and nothing else
	actor.Told = nil
	answer, err := a.o.Forwarder.Forward(r.Context(), actor, &upstream.Forward{
		Method: r.Method, Bucket: r.Bucket, Key: r.Key, Query: r.Query, Header: header, API: upstream.Admin,
	})
	if err != nil {
		return err
	}
	return a.in.PassBack(w, r, answer)
}

// verifyScraper checks a bearer token and returns its claims, and the pair that MinIO
// knows the scraper by.
func (a *API) verifyScraper(r *intake.Request, authorization []string) (claims *scrapeClaims, at identity.Pair, err error) {
	token, ok := strings.CutPrefix(authorization[0], "Bearer ")
	if !ok || len(authorization) != 1 || len(token) > maxToken {
		return nil, at, fmt.Errorf("no bearer token: %w", errTokenRefused)
	}
	claims, signed, mac, err := parseToken(token)
	if err != nil {
		return nil, at, fmt.Errorf("bearer token: %w (%w)", errTokenRefused, err)
	}
	found, err := a.in.CallerWith(r.Context(), claims.Subject, "")
	if errors.Is(err, identity.ErrUnavailable) || errors.Is(err, identity.ErrBusy) {
		return nil, at, err
	}
	if err != nil {
		return nil, at, fmt.Errorf("bearer token of %q: %w (%w)", claims.Subject, errTokenRefused, err)
	}
	if !hmac.Equal(mac, tokenMAC(signed, found.Identity.SecretKey)) || time.Now().Unix() >= claims.Expires {
		return nil, at, fmt.Errorf("bearer token of %q is not authentic, or expired: %w", claims.Subject, errTokenRefused)
	}
	return claims, found.Identity.AtUpstream(), nil
}

// tokenHeader is the first part of every token: HS512 and no other algorithm.
const tokenHeader = `{"alg":"HS512","typ":"JWT"}`

// parseToken takes a token apart. signed is what its MAC covers.
func parseToken(token string) (claims *scrapeClaims, signed string, mac []byte, err error) {
	last := strings.LastIndexByte(token, '.')
	if last < 0 {
		return nil, "", nil, fmt.Errorf("a token has three parts")
	}
	signed = token[:last]
	head, body, _ := strings.Cut(signed, ".")
	var header struct {
		Algorithm string `json:"alg"`
	}
	if err := decodePart(head, &header); err != nil {
		return nil, "", nil, err
	}
	if header.Algorithm != "HS512" {
		return nil, "", nil, fmt.Errorf("algorithm %q", header.Algorithm)
	}
	claims = new(scrapeClaims)
	if err := decodePart(body, claims); err != nil {
		return nil, "", nil, err
	}
	mac, err = base64.RawURLEncoding.Strict().DecodeString(token[last+1:])
	return claims, signed, mac, err
}

func decodePart(part string, v any) error {
	text, err := base64.RawURLEncoding.Strict().DecodeString(part)
	if err != nil {
		return err
	}
	return json.NewDecoder(bytes.NewReader(text)).Decode(v)
}

func signToken(claims *scrapeClaims, secret string) string {
	body, err := json.Marshal(claims)
	if err != nil {
		panic("proxy: claims of strings and numbers do not encode: " + err.Error())
	}
	enc := base64.RawURLEncoding
	signed := enc.EncodeToString([]byte(tokenHeader)) + "." + enc.EncodeToString(body)
	return signed + "." + enc.EncodeToString(tokenMAC(signed, secret))
}

func tokenMAC(signed, secret string) []byte {
	h := hmac.New(sha512.New, []byte(secret))
	h.Write([]byte(signed))
	return h.Sum(nil)
}
