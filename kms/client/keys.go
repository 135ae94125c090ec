package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/bucketseal/bucketseal/kms"
)

// createdJustNow bounds how far a key's creation time may be from this
// machine's clock for the key to be taken for the one just created.
const createdJustNow = 2 * time.Minute

// CreateKey implements kms.Service. When a connection breaks after the request
// was sent, the key is asked for: if this identity created it just now, the
// call succeeded; ErrUnknownOutcome if that cannot be found out.
func (c *Client) CreateKey(ctx context.Context, name string) error {
	if err := kms.ValidateKeyName(name); err != nil {
		return fmt.Errorf("create key: %w", err)
	}
	_, uncertain, err := c.do(ctx, call{method: http.MethodPost, path: "/v1/key/create/", name: name})
	switch {
	case err == nil, !uncertain, ctx.Err() != nil:
		return err
	case errors.Is(err, kms.ErrKeyExists):
		return c.createdByUs(ctx, name, err)
	case errors.Is(err, kms.ErrUnavailable):
		return fmt.Errorf("create key: %w: %w", ErrUnknownOutcome, err)
	}
	return err
}

// createdByUs decides whether a key that exists after a lost answer is the one
// that was asked for. A rival of the same identity may have made it a moment
// before; then too the caller has what it wanted, a fresh random key.
func (c *Client) createdByUs(ctx context.Context, name string, exists error) error {
	info, err := c.DescribeKey(ctx, name)
	if err != nil {
		return fmt.Errorf("create key: %w: %w: an earlier attempt lost its answer: %v", kms.ErrUnavailable, ErrUnknownOutcome, err)
	}
	if info.CreatedBy == c.Identity() && time.Since(info.CreatedAt).Abs() < createdJustNow {
		return nil
	}
	return exists
}

// ImportKey implements kms.Service. It is never sent again once a server may
// have stored the key: ErrUnknownOutcome.
func (c *Client) ImportKey(ctx context.Context, name string, key [kms.DEKSize]byte, algorithm kms.Algorithm) error {
	defer clear(key[:])
	if err := kms.ValidateKeyName(name); err != nil {
		return fmt.Errorf("import key: %w", err)
	}
	text, err := importBody(&key, algorithm)
	if err != nil {
		return err
	}
	body := newSecretBody(text)
	defer body.wipe()
	_, uncertain, err := c.do(ctx, call{method: http.MethodPost, path: "/v1/key/import/", name: name, body: body, once: true})
	if err != nil && uncertain && errors.Is(err, kms.ErrUnavailable) {
		return fmt.Errorf("import key: %w: %w", ErrUnknownOutcome, err)
	}
	return err
}

// DeleteKey implements kms.Service. Once a server may have deleted the key, it is not sent
// again while there is a key of that name, which somebody may have created since:
// ErrUnknownOutcome. If there is none, it is sent once more: what was cut off leaves
// entries in the store, though nothing opens with them any more.
func (c *Client) DeleteKey(ctx context.Context, name string) error {
	if err := kms.ValidateKeyName(name); err != nil {
		return fmt.Errorf("delete key: %w", err)
	}
	remove := call{method: http.MethodDelete, path: "/v1/key/delete/", name: name, once: true}
	_, uncertain, err := c.do(ctx, remove)
	if err == nil || !uncertain || ctx.Err() != nil {
		return err
	}
	if _, gone := c.DescribeKey(ctx, name); errors.Is(gone, kms.ErrKeyNotFound) {
		if _, _, err = c.do(ctx, remove); err == nil || errors.Is(err, kms.ErrKeyNotFound) {
			return nil
		}
	}
	return fmt.Errorf("delete key: %w: %w: %w", kms.ErrUnavailable, ErrUnknownOutcome, err)
}

// DescribeKey implements kms.Service.
func (c *Client) DescribeKey(ctx context.Context, name string) (kms.KeyInfo, error) {
	if err := kms.ValidateKeyName(name); err != nil {
		return kms.KeyInfo{}, fmt.Errorf("describe key: %w", err)
	}
	var out struct {
		Name      string    `json:"name"`
		Algorithm string    `json:"algorithm"`
		Version   uint32    `json:"key_version"`
		CreatedAt time.Time `json:"created_at"`
		CreatedBy string    `json:"created_by"`
	}
	if err := c.get(ctx, "/v1/key/describe/", name, maxKeyBody, &out); err != nil {
		return kms.KeyInfo{}, err
	}
	algorithm, err := parseAlgorithm(out.Algorithm)
	if err != nil {
		return kms.KeyInfo{}, fmt.Errorf("describe key: %w: %w", kms.ErrUnavailable, err)
	}
	return kms.KeyInfo{Name: name, Algorithm: algorithm, Version: max(out.Version, 1), CreatedAt: out.CreatedAt, CreatedBy: out.CreatedBy}, nil
}

// usedKey is what a server of ours says to proxies of the key that it used; KES
// says nothing.
type usedKey struct {
	Version     uint32          `json:"key_version"`
	Fingerprint kms.Fingerprint `json:"key_fingerprint"`
	Latest      uint32          `json:"key_latest"`
}

// note writes it down where the caller wants to know it.
func (u usedKey) note(ctx context.Context) {
	if used := kms.UsedKeyIn(ctx); used != nil {
		*used = kms.UsedKey{Version: u.Version, Fingerprint: u.Fingerprint, Latest: u.Latest}
	}
}

// GenerateDEK implements kms.Service.
func (c *Client) GenerateDEK(ctx context.Context, name string, encContext []byte) (kms.DEK, error) {
	if err := kms.ValidateKeyName(name); err != nil {
		return kms.DEK{}, fmt.Errorf("generate DEK: %w", err)
	}
	in := struct {
		Context []byte `json:"context,omitempty"`
	}{encContext}
	var out struct {
		Plaintext  []byte `json:"plaintext"`
		Ciphertext []byte `json:"ciphertext"`
		usedKey
	}
	if err := c.post(ctx, http.MethodPost, "/v1/key/generate/", name, in, &out); err != nil {
		return kms.DEK{}, err
	}
	defer clear(out.Plaintext)
	out.note(ctx)
	dek := kms.DEK{Ciphertext: out.Ciphertext, KeyName: name, KeyVersion: max(out.Version, kms.CiphertextVersion(out.Ciphertext))}
	if len(out.Ciphertext) == 0 {
		return kms.DEK{}, fmt.Errorf("generate DEK: %w: %w", kms.ErrUnavailable, errNotReadable)
	}
	if err := fill(&dek.Plaintext, out.Plaintext); err != nil {
		return kms.DEK{}, fmt.Errorf("generate DEK: %w", err)
	}
	return dek, nil
}

// DecryptDEK implements kms.Service.
func (c *Client) DecryptDEK(ctx context.Context, name string, ciphertext, encContext []byte) ([kms.DEKSize]byte, error) {
	var dek [kms.DEKSize]byte
	plaintext, err := c.Decrypt(ctx, name, ciphertext, encContext)
	if err != nil {
		return dek, err
	}
	defer clear(plaintext)
	if len(plaintext) != kms.DEKSize {
		// Sealed under this key, but by Encrypt and not as a DEK.
		return dek, fmt.Errorf("decrypt DEK: %w", kms.ErrDecrypt)
	}
	if err := fill(&dek, plaintext); err != nil {
		return dek, fmt.Errorf("decrypt DEK: %w", err)
	}
	return dek, nil
}

// fill copies a DEK. All zero is what a server that lost its mind, or a buffer
// that was wiped too early, looks like: data must never be sealed under it.
func fill(dek *[kms.DEKSize]byte, plaintext []byte) error {
	if len(plaintext) != kms.DEKSize || [kms.DEKSize]byte(plaintext) == [kms.DEKSize]byte{} {
		return fmt.Errorf("%w: %w", kms.ErrUnavailable, errNotReadable)
	}
	copy(dek[:], plaintext)
	return nil
}

// Encrypt implements kms.Service.
func (c *Client) Encrypt(ctx context.Context, name string, plaintext, encContext []byte) ([]byte, error) {
	if err := kms.ValidateKeyName(name); err != nil {
		return nil, fmt.Errorf("encrypt: %w", err)
	}
	in := struct {
		Plaintext []byte `json:"plaintext"`
		Context   []byte `json:"context,omitempty"`
	}{notNil(plaintext), encContext}
	var out struct {
		Ciphertext []byte `json:"ciphertext"`
	}
	if err := c.post(ctx, http.MethodPost, "/v1/key/encrypt/", name, in, &out); err != nil {
		return nil, err
	}
	if len(out.Ciphertext) == 0 {
		return nil, fmt.Errorf("encrypt: %w: %w", kms.ErrUnavailable, errNotReadable)
	}
	return out.Ciphertext, nil
}

// Decrypt implements kms.Service.
func (c *Client) Decrypt(ctx context.Context, name string, ciphertext, encContext []byte) ([]byte, error) {
	if err := kms.ValidateKeyName(name); err != nil {
		return nil, fmt.Errorf("decrypt: %w", err)
	}
	in := struct {
		Ciphertext []byte `json:"ciphertext"`
		Context    []byte `json:"context,omitempty"`
	}{notNil(ciphertext), encContext}
	var out struct {
		Plaintext []byte `json:"plaintext"`
		usedKey
	}
	if err := c.post(ctx, http.MethodPost, "/v1/key/decrypt/", name, in, &out); err != nil {
		return nil, kms.OfVersion(err, kms.CiphertextVersion(ciphertext))
	}
	out.note(ctx)
	return out.Plaintext, nil
}

// HMAC implements kms.Service.
func (c *Client) HMAC(ctx context.Context, name string, message []byte) ([]byte, error) {
	if err := kms.ValidateKeyName(name); err != nil {
		return nil, fmt.Errorf("hmac: %w", err)
	}
	in := struct {
		Message []byte `json:"message"`
	}{notNil(message)}
	var out struct {
		HMAC []byte `json:"hmac"`
	}
	if err := c.post(ctx, http.MethodPut, "/v1/key/hmac/", name, in, &out); err != nil {
		return nil, err
	}
	if len(out.HMAC) != 32 {
		return nil, fmt.Errorf("hmac: %w: %w", kms.ErrUnavailable, errNotReadable)
	}
	return out.HMAC, nil
}

// Status implements kms.Service: it asks whether a server and its key store
// are ready. An identity that may not ask learns only that a server answers.
func (c *Client) Status(ctx context.Context) (kms.State, error) {
	start := time.Now()
	_, _, err := c.do(ctx, call{method: http.MethodGet, path: "/v1/ready", limit: maxErrorBody})
	if errors.Is(err, kms.ErrNotPermitted) {
		start = time.Now()
		_, err = c.Version(ctx)
	}
	if err != nil {
		return kms.State{}, err
	}
	return kms.State{Latency: time.Since(start)}, nil
}

// notNil keeps an empty value from becoming JSON's null.
func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}
