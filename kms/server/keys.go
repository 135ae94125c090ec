package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/kms"
)

// creator is a kms.Service that notes in a key on whose behalf it was made.
type creator interface {
	CreateKeyAs(ctx context.Context, name, createdBy string) error
	ImportKeyAs(ctx context.Context, name string, key [kms.DEKSize]byte, algorithm kms.Algorithm, createdBy string) error
}

// keyName checks the name that follows the path. *nameError.
func (r *request) keyName() error {
	if kms.ValidateKeyName(r.name) != nil {
		return &nameError{"key name", r.name}
	}
	return nil
}

// allowContext refuses contexts of the proxies' own records to everybody else,
// so that nobody with rights on this API can make or open one. That somebody is
// the admin does not make it a proxy. *denied.
func (r *request) allowContext(encContext []byte) error {
	r.encContext = encContext
	if !kms.ContainsReserved(encContext) || r.isProxy() {
		return nil
	}
	return &denied{policy: r.policy, reason: "the encryption context has a name that is reserved for the proxy; a proxy's policy says bucketseal: true"}
}

// usedKey is what an answer to a proxy says of the key that it used: proxies pin
// that. KES has no such fields, and nobody else gets them.
type usedKey struct {
	Version     uint32           `json:"key_version,omitempty"`
	Fingerprint *kms.Fingerprint `json:"key_fingerprint,omitempty"`
	Latest      uint32           `json:"key_latest,omitempty"`
}

// noting returns the context to make a DEK with, or to open one, and what to answer
// with afterwards.
func (r *request) noting() (ctx context.Context, answer func() usedKey) {
	if !r.isProxy() {
		return r.Context(), func() usedKey { return usedKey{} }
	}
	used := new(kms.UsedKey)
	return kms.NoteUsedKey(r.Context(), used), func() usedKey {
		if used.Version == 0 {
			return usedKey{}
		}
		return usedKey{used.Version, &used.Fingerprint, used.Latest}
	}
}

// mayReplace refuses to import, rotate or delete a key that proxies may use to everybody
// but them and the admin: whoever knows the secret of such a key could read and forge
// objects, and whoever fills its log leaves it without another version. *denied.
func (s *Server) mayReplace(r *request) error {
	if r.caller == r.state.config.Admin || r.isProxy() {
		return nil
	}
	if s.opts.Proxied {
		return &denied{policy: r.policy, reason: "the proxy in this process may use the key; the admin, or a policy that says bucketseal: true, may import, rotate and delete keys"}
	}
	if policy := r.state.proxyOf(r.name); policy != "" {
		return &denied{policy: r.policy, reason: fmt.Sprintf("the proxies of the policy %q may use the key; only they and the admin may import, rotate or delete it", policy)}
	}
	return nil
}

// isProxy says whether the caller's policy makes it a bucketseal proxy.
func (r *request) isProxy() bool {
	return r.policy != "" && r.state.config.Policies[r.policy].Bucketseal
}

func createKey(s *Server, _ http.ResponseWriter, r *request) error {
	if err := r.keyName(); err != nil {
		return err
	}
	var err error
	if c, ok := s.service.(creator); ok {
		err = c.CreateKeyAs(r.Context(), r.name, r.caller.String())
	} else {
		err = s.service.CreateKey(r.Context(), r.name)
	}
	return keyFailure("create", err)
}

func importKey(s *Server, w http.ResponseWriter, r *request) error {
	if err := r.keyName(); err != nil {
		return err
	}
	if err := s.mayReplace(r); err != nil {
		return err
	}
	var in struct {
		Key    []byte `json:"key"`
		Cipher string `json:"cipher"`
	}
	if err := s.read(w, r, &in, false); err != nil {
		return err
	}
	defer clear(in.Key)
	algorithm, err := kms.ParseAlgorithm(in.Cipher)
	if err != nil {
		return errCipher
	}
	if len(in.Key) != kms.DEKSize {
		return errKeySize
	}
	key := [kms.DEKSize]byte(in.Key)
	defer clear(key[:])
	if c, ok := s.service.(creator); ok {
		err = c.ImportKeyAs(r.Context(), r.name, key, algorithm, r.caller.String())
	} else {
		err = s.service.ImportKey(r.Context(), r.name, key, algorithm)
	}
	if errors.Is(err, kms.ErrNotSupported) {
		return errCipher
	}
	return keyFailure("create", err)
}

func describeKey(s *Server, w http.ResponseWriter, r *request) error {
	if err := r.keyName(); err != nil {
		return err
	}
	info, err := s.service.DescribeKey(r.Context(), r.name)
	if err != nil {
		return keyFailure("read", err)
	}
	out := struct {
		Name      string    `json:"name"`
		Algorithm string    `json:"algorithm"`
		CreatedAt time.Time `json:"created_at"`
		CreatedBy string    `json:"created_by"`
		Version   uint32    `json:"key_version,omitempty"` // not KES's; absent for 1
	}{Name: r.name, Algorithm: info.Algorithm.String(), CreatedAt: info.CreatedAt, CreatedBy: info.CreatedBy}
	if info.Version > 1 {
		out.Version = info.Version
	}
	return write(w, out)
}

func deleteKey(s *Server, _ http.ResponseWriter, r *request) error {
	if err := r.keyName(); err != nil {
		return err
	}
	if err := s.mayReplace(r); err != nil {
		return err
	}
	return keyFailure("delete", s.toTheEnd(r, func(ctx context.Context) error { return s.service.DeleteKey(ctx, r.name) }))
}

// listKeys answers with all names at once: KES's paging cannot be continued, as
// clients send the next name as if it were a prefix.
func listKeys(s *Server, w http.ResponseWriter, r *request) error {
	if kms.ValidateListPattern(r.name) != nil {
		return &patternError{r.name}
	}
	names, err := s.service.ListKeys(r.Context(), strings.TrimSuffix(r.name, "*"))
	if err != nil {
		return keyFailure("list", err)
	}
	return write(w, nameList{notNil(names)})
}

type nameList struct {
	Names []string `json:"names"`
}

func notNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func generateKey(s *Server, w http.ResponseWriter, r *request) error {
	if err := r.keyName(); err != nil {
		return err
	}
	var in struct {
		Context []byte `json:"context"`
	}
	if err := s.read(w, r, &in, true); err != nil {
		return err
	}
	if err := r.allowContext(in.Context); err != nil {
		return err
	}
	ctx, used := r.noting()
	dek, err := s.service.GenerateDEK(ctx, r.name, in.Context)
	defer clear(dek.Plaintext[:])
	if err != nil {
		return keyFailure("read", err)
	}
	return write(w, struct {
		Plaintext  []byte `json:"plaintext"`
		Ciphertext []byte `json:"ciphertext"`
		usedKey
	}{dek.Plaintext[:], dek.Ciphertext, used()})
}

func encryptKey(s *Server, w http.ResponseWriter, r *request) error {
	if err := r.keyName(); err != nil {
		return err
	}
	var in struct {
		Plaintext []byte `json:"plaintext"`
		Context   []byte `json:"context"`
	}
	if err := s.read(w, r, &in, false); err != nil {
		return err
	}
	defer clear(in.Plaintext)
	if err := r.allowContext(in.Context); err != nil {
		return err
	}
	ciphertext, err := s.service.Encrypt(r.Context(), r.name, in.Plaintext, in.Context)
	if err != nil {
		return keyFailure("read", err)
	}
	return write(w, struct {
		Ciphertext []byte `json:"ciphertext"`
	}{ciphertext})
}

func decryptKey(s *Server, w http.ResponseWriter, r *request) error {
	if err := r.keyName(); err != nil {
		return err
	}
	var in struct {
		Ciphertext []byte `json:"ciphertext"`
		Context    []byte `json:"context"`
	}
	if err := s.read(w, r, &in, false); err != nil {
		return err
	}
	if err := r.allowContext(in.Context); err != nil {
		return err
	}
	ctx, used := r.noting()
	plaintext, err := s.service.Decrypt(ctx, r.name, in.Ciphertext, in.Context)
	defer clear(plaintext)
	if err != nil {
		return keyFailure("read", err)
	}
	return write(w, struct {
		Plaintext []byte `json:"plaintext"`
		usedKey
	}{notNil(plaintext), used()})
}

func hmacKey(s *Server, w http.ResponseWriter, r *request) error {
	if err := r.keyName(); err != nil {
		return err
	}
	var in struct {
		Message []byte `json:"message"`
	}
	if err := s.read(w, r, &in, false); err != nil {
		return err
	}
	sum, err := s.service.HMAC(r.Context(), r.name, in.Message)
	if errors.Is(err, kms.ErrNotSupported) {
		return errNoHMAC
	}
	if err != nil {
		return keyFailure("read", err)
	}
	return write(w, struct {
		HMAC []byte `json:"hmac"`
	}{sum})
}

// keyFailure says what was being done; nil stays nil.
func keyFailure(verb string, err error) error {
	if err == nil {
		return nil
	}
	return &keyError{verb, err}
}
