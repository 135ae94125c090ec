package proxy

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/pins"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/upstream"
)

// keyAdministrator returns nil if the caller may do with keys what it asks, in the
// proxy's own configuration and by MinIO's policies. MinIO judges permission
// before it looks for its KMS, of which it has none: 501 is its yes.
func (s *Server) keyAdministrator(r *request) error {
	if err := s.identities.MayAdministerKeys(r.caller.identity); err != nil {
		return err
	}
	resp, err := s.askAdmin(r)
	if err == nil {
		upstream.Discard(resp)
	}
	var answer *storage.Error
	switch {
	case errors.As(err, &answer) && answer.Status == http.StatusNotImplemented && answer.Code == "NotImplemented":
		return nil
	case err == nil, answer != nil && answer.Status >= http.StatusInternalServerError && answer.Status != http.StatusServiceUnavailable:
		return fmt.Errorf("ask MinIO about KMS permissions: %w (%v)", errUpstreamKMS, err)
	default:
		return err
	}
}

// isReservedKey says whether a KMS key is the proxy's own: nobody may create, use
// or see it over MinIO's API.
func isReservedKey(name string) bool { return strings.HasPrefix(name, systemKey) }

// keyName returns the KMS key that a request names, "" being the default key.
func (s *Server) keyName(r *request) (string, error) {
	name := r.query.Get("key-id")
	if name == "" {
		return s.opts.DefaultKey, nil
	}
	if isReservedKey(name) {
		return "", fmt.Errorf("KMS key %q is reserved: %w", name, kms.ErrNotPermitted)
	}
	return name, kms.ValidateKeyName(name)
}

// kmsCreateKey creates a KMS key.
func (s *Server) kmsCreateKey(w http.ResponseWriter, r *request) error {
	if err := s.keyAdministrator(r); err != nil {
		return err
	}
	name, err := s.keyName(r)
	if err != nil {
		return err
	}
	ctx := kms.WithCreator(r.Context(), r.caller.accessKey)
	if err := s.opts.KMS.CreateKey(ctx, name); err != nil {
		return fmt.Errorf("create KMS key %q: %w", name, err)
	}
	s.log.Info("KMS key created", "key", name, "caller", r.caller.String(), "id", r.id)
	w.WriteHeader(http.StatusOK)
	return nil
}

// keyStatus is what MinIO says of a key: what failed, or nothing.
type keyStatus struct {
	KeyID           string `json:"key-id"`
	EncryptionError string `json:"encryption-error,omitempty"`
	DecryptionError string `json:"decryption-error,omitempty"`
}

// kmsKeyStatus tries a KMS key. A key that cannot be used is an answer, not an
// error.
func (s *Server) kmsKeyStatus(w http.ResponseWriter, r *request) error {
	if err := s.keyAdministrator(r); err != nil {
		return err
	}
	name, err := s.keyName(r)
	if err != nil {
		return err
	}
	status := keyStatus{KeyID: name}
	encContext := kms.Context{keyring.ContextUse: "key-status"}.Canonical()
	ctx := pins.PinNothing(r.Context())
	dek, err := s.opts.KMS.GenerateDEK(ctx, name, encContext)
	if err != nil {
		s.log.Info("KMS key does not encrypt", "key", name, "error", err, "id", r.id)
		status.EncryptionError = asAPIError(err).message
		return writeJSON(w, http.StatusOK, &status)
	}
	defer clear(dek.Plaintext[:])
	opened, err := s.opts.KMS.DecryptDEK(ctx, name, dek.Ciphertext, encContext)
	defer clear(opened[:])
	switch {
	case err != nil:
		s.log.Info("KMS key does not decrypt", "key", name, "error", err, "id", r.id)
		status.DecryptionError = asAPIError(err).message
	case subtle.ConstantTimeCompare(opened[:], dek.Plaintext[:]) != 1:
		status.DecryptionError = "the decrypted key is not the generated key"
	}
	return writeJSON(w, http.StatusOK, &status)
}

// listedKey is a key in a listing. MinIO says neither when nor by whom it was
// made: it would have to open every key.
type listedKey struct {
	CreatedAt time.Time `json:"createdAt"`
	CreatedBy string    `json:"createdBy"`
	Name      string    `json:"name"`
}

// kmsListKeys lists KMS keys, all but the proxy's own.
func (s *Server) kmsListKeys(w http.ResponseWriter, r *request) error {
	if err := s.keyAdministrator(r); err != nil {
		return err
	}
	pattern := r.query.Get("pattern")
	if err := kms.ValidateListPattern(pattern); err != nil {
		return err
	}
	prefix, open := strings.CutSuffix(pattern, "*")
	names, err := s.opts.KMS.ListKeys(r.Context(), prefix)
	if err != nil {
		return err
	}
	list := make([]listedKey, 0, len(names))
	for _, name := range names {
		if !isReservedKey(name) && (open || pattern == "" || name == pattern) {
			list = append(list, listedKey{Name: name})
		}
	}
	return writeJSON(w, http.StatusOK, list)
}

// kmsStatus says how the key service is.
func (s *Server) kmsStatus(w http.ResponseWriter, r *request) error {
	if err := s.keyAdministrator(r); err != nil {
		return err
	}
	state, err := s.opts.KMS.Status(r.Context())
	online := "online"
	if err != nil {
		s.log.Warn("key service", "error", err, "id", r.id)
		online = "offline"
	}
	return writeJSON(w, http.StatusOK, struct {
		Name       string            `json:"name"`
		DefaultKey string            `json:"default-key-id"`
		Endpoints  map[string]string `json:"endpoints"`
		State      keyServiceState   `json:"state"`
	}{
		Name: "bucketseal", DefaultKey: s.opts.DefaultKey, Endpoints: map[string]string{"bucketseal": online},
		State: keyServiceState{KeyStoreLatency: state.Latency, KeyStoreReachable: err == nil, KeystoreAvailable: err == nil},
	})
}

// keyServiceState has the names that clients of MinIO know. Of the process it
// says nothing.
type keyServiceState struct {
	Version           string
	KeyStoreLatency   time.Duration
	KeyStoreReachable bool
	KeystoreAvailable bool
}

// kmsVersion says which API the key service has.
func (s *Server) kmsVersion(w http.ResponseWriter, r *request) error {
	if err := s.keyAdministrator(r); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, map[string]string{"version": "v1"})
}

// kmsAPIs lists what the key service offers here.
func (s *Server) kmsAPIs(w http.ResponseWriter, r *request) error {
	if err := s.keyAdministrator(r); err != nil {
		return err
	}
	type api struct {
		Method, Path     string
		MaxBody, Timeout int64
	}
	var list []api
	for _, row := range keyRoutes() {
		if row.action == translate && strings.HasPrefix(row.path, "kms/") {
			list = append(list, api{Method: row.method, Path: adminRoot + row.path})
		}
	}
	return writeJSON(w, http.StatusOK, list)
}
