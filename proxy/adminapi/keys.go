package adminapi

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/proxy/pins"
	"github.com/bucketseal/bucketseal/proxy/route"
	"github.com/bucketseal/bucketseal/proxy/storage"
)

// keyAdministrator returns nil if the caller may do with keys what it asks, in the
// proxy's own configuration and by MinIO's policies. MinIO judges permission
// before it looks for its KMS, of which it has none: 501 is its yes.
func (a *API) keyAdministrator(r *intake.Request) error {
	if err := a.identities.MayAdministerKeys(r.Caller.Identity); err != nil {
		return err
	}
	resp, err := a.askAdmin(r)
	if err == nil {
		_ = resp.Close()
	}
	var answer *storage.Error
	switch {
	case errors.As(err, &answer) && answer.Status == http.StatusNotImplemented && answer.Code == "NotImplemented":
		return nil
	case err == nil, answer != nil && answer.Status >= http.StatusInternalServerError && answer.Status != http.StatusServiceUnavailable:
		return fmt.Errorf("ask MinIO about KMS permissions: %w (%v)", ErrUpstreamKMS, err)
	default:
		return err
	}
}

// isReserved says whether a KMS key is the proxy's own: nobody may create, use
// or see it over MinIO's API.
func isReserved(prefix, name string) bool { return strings.HasPrefix(name, prefix) }

// keyName returns the KMS key that a request names, "" being the default key.
func (a *API) keyName(r *intake.Request) (string, error) {
	name := r.Query.Get("key-id")
	if name == "" {
		return a.o.DefaultKey, nil
	}
	if isReserved(a.o.Reserved, name) {
		return "", fmt.Errorf("KMS key %q is reserved: %w", name, kms.ErrNotPermitted)
	}
	return name, kms.ValidateKeyName(name)
}

// kmsCreateKey creates a KMS key.
func (a *API) kmsCreateKey(w http.ResponseWriter, r *intake.Request) error {
	if err := a.keyAdministrator(r); err != nil {
		return err
	}
	name, err := a.keyName(r)
	if err != nil {
		return err
	}
	ctx := kms.WithCreator(r.Context(), r.Caller.AccessKey)
	if err := a.o.Keys.CreateKey(ctx, name); err != nil {
		return fmt.Errorf("create KMS key %q: %w", name, err)
	}
	a.log.Info("KMS key created", "key", name, "caller", r.Caller.String(), "id", r.ID)
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
func (a *API) kmsKeyStatus(w http.ResponseWriter, r *intake.Request) error {
	if err := a.keyAdministrator(r); err != nil {
		return err
	}
	name, err := a.keyName(r)
	if err != nil {
		return err
	}
	status := keyStatus{KeyID: name}
	encContext := kms.Context{kms.ContextUse: "key-status"}.Canonical()
	ctx := pins.PinNothing(r.Context())
	dek, err := a.o.Keys.GenerateDEK(ctx, name, encContext)
	if err != nil {
		a.log.Info("KMS key does not encrypt", "key", name, "error", err, "id", r.ID)
		status.EncryptionError = a.o.Describe(err).Message
		return writeJSON(w, http.StatusOK, &status)
	}
	defer clear(dek.Plaintext[:])
	opened, err := a.o.Keys.DecryptDEK(ctx, name, dek.Ciphertext, encContext)
	defer clear(opened[:])
	switch {
	case err != nil:
		a.log.Info("KMS key does not decrypt", "key", name, "error", err, "id", r.ID)
		status.DecryptionError = a.o.Describe(err).Message
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
func (a *API) kmsListKeys(w http.ResponseWriter, r *intake.Request) error {
	if err := a.keyAdministrator(r); err != nil {
		return err
	}
	pattern := r.Query.Get("pattern")
	if err := kms.ValidateListPattern(pattern); err != nil {
		return err
	}
	prefix, open := strings.CutSuffix(pattern, "*")
	names, err := a.o.Keys.ListKeys(r.Context(), prefix)
	if err != nil {
		return err
	}
	list := make([]listedKey, 0, len(names))
	for _, name := range names {
		if !isReserved(a.o.Reserved, name) && (open || pattern == "" || name == pattern) {
			list = append(list, listedKey{Name: name})
		}
	}
	return writeJSON(w, http.StatusOK, list)
}

// kmsStatus says how the key service is.
func (a *API) kmsStatus(w http.ResponseWriter, r *intake.Request) error {
	if err := a.keyAdministrator(r); err != nil {
		return err
	}
	state, err := a.o.Keys.Status(r.Context())
	online := "online"
	if err != nil {
		a.log.Warn("key service", "error", err, "id", r.ID)
		online = "offline"
	}
	return writeJSON(w, http.StatusOK, struct {
		Name       string            `json:"name"`
		DefaultKey string            `json:"default-key-id"`
		Endpoints  map[string]string `json:"endpoints"`
		State      keyServiceState   `json:"state"`
	}{
		Name: "bucketseal", DefaultKey: a.o.DefaultKey, Endpoints: map[string]string{"bucketseal": online},
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
func (a *API) kmsVersion(w http.ResponseWriter, r *intake.Request) error {
	if err := a.keyAdministrator(r); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, map[string]string{"version": "v1"})
}

// kmsAPIs lists what the key service offers here.
func (a *API) kmsAPIs(w http.ResponseWriter, r *intake.Request) error {
	if err := a.keyAdministrator(r); err != nil {
		return err
	}
	type api struct {
		Method, Path     string
		MaxBody, Timeout int64
	}
	var list []api
	for _, row := range keyRoutes() {
		if row.Action == route.Translate && strings.HasPrefix(row.Path, "kms/") {
			list = append(list, api{Method: row.Method, Path: Root + row.Path})
		}
	}
	return writeJSON(w, http.StatusOK, list)
}
