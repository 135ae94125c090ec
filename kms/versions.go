package kms

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// What can be wrong with a version of a key.
var (
	// ErrVersionRetired says that the version of a KMS key that sealed something is
	// retired, or waits for its destruction: it opens nothing until it is reinstated.
	ErrVersionRetired = errors.New("key version is retired")
	// ErrVersionDestroyed says that the version is destroyed: what it sealed is lost.
	ErrVersionDestroyed = errors.New("key version is destroyed")
	// ErrVersionNotFound says that the key has no such version.
	ErrVersionNotFound = errors.New("key version does not exist")
	// ErrNewestVersion says that what seals new data can be neither retired nor destroyed.
	ErrNewestVersion = errors.New("it is the newest version of the key; rotate the key first")
	// ErrUsageUnknown says that it is not known whether anything still needs a version.
	ErrUsageUnknown = errors.New("it is not known what still uses the key version")
)

// VersionError is ErrVersionRetired or ErrVersionDestroyed, with the version's number.
type VersionError struct {
	Version uint32
	err     error
}

// Error names the version.
func (e *VersionError) Error() string { return fmt.Sprintf("version %d: %v", e.Version, e.err) }

// Unwrap returns the sentinel.
func (e *VersionError) Unwrap() error { return e.err }

// OfVersion makes a *VersionError of an error that is one of those two, and returns
// every other as it is.
func OfVersion(err error, version uint32) error {
	if errors.Is(err, ErrVersionRetired) || errors.Is(err, ErrVersionDestroyed) {
		return &VersionError{Version: version, err: err}
	}
	return err
}

// VersionState says what a version of a KMS key is good for.
type VersionState uint8

// The states of a version.
const (
	// VersionActive is the state of the newest version: it seals and opens.
	VersionActive VersionState = iota + 1
	// VersionDecryptOnly is an older one, which opens what it sealed.
	VersionDecryptOnly
	// VersionRetired opens nothing until it is reinstated.
	VersionRetired
	// VersionDoomed is retired, and will be destroyed at VersionInfo.DestroyAt.
	VersionDoomed
	// VersionDestroyed is gone for ever.
	VersionDestroyed
)

var versionStates = [...]string{"", "active", "decrypt-only", "retired", "to be destroyed", "destroyed"}

// String is how people and the wire API call the state.
func (s VersionState) String() string {
	if int(s) < len(versionStates) {
		return versionStates[s]
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// MarshalText implements encoding.TextMarshaler.
func (s VersionState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *VersionState) UnmarshalText(text []byte) error {
	for i, name := range versionStates {
		if i > 0 && name == string(text) {
			*s = VersionState(i)
			return nil
		}
	}
	return fmt.Errorf("%.40q is no state of a key version", text)
}

// VersionInfo describes a version of a KMS key without its secret.
type VersionInfo struct {
	// Version counts from 1.
	Version uint32       `json:"version"`
	State   VersionState `json:"state"`
	// Algorithm is empty where the secret is gone.
	Algorithm string    `json:"algorithm,omitempty"`
	CreatedAt time.Time `json:"created_at,omitzero"`
	CreatedBy string    `json:"created_by,omitempty"`
	// ChangedAt and ChangedBy tell of the last retirement, restoration or destruction.
	ChangedAt time.Time `json:"changed_at,omitzero"`
	ChangedBy string    `json:"changed_by,omitempty"`
	// DestroyAt is set in the state VersionDoomed.
	DestroyAt time.Time `json:"destroy_at,omitzero"`
	// LastGenerate and LastDecrypt are when this service, since it was started, last
	// sealed or opened something with the version, to the minute. Zero is "not seen", and
	// never "unused".
	LastGenerate time.Time `json:"last_generate,omitzero"`
	LastDecrypt  time.Time `json:"last_decrypt,omitzero"`
}

// VersionAction is what can be done to a version.
type VersionAction string

// The actions.
const (
	Retire    VersionAction = "retire"
	Reinstate VersionAction = "reinstate"
	Destroy   VersionAction = "destroy"
)

// VersionChange is asked of ChangeVersion.
type VersionChange struct {
	Action  VersionAction
	Version uint32
	// After is how long Destroy waits; until then Reinstate undoes it. 0 is at once.
	After time.Duration
	// Force does it although it is not known what still uses the version.
	Force bool
}

// Versions is what a Service can do with the versions of KMS keys. A remote service
// that knows no versions, a KES, returns ErrNotSupported.
type Versions interface {
	// RotateKey makes the version of a key that follows the version after, under which
	// new DEKs are sealed from then on, and returns the number of the newest: if there is
	// a newer one than after already it makes none. 0 is the newest there is when it is
	// called. Of rival calls one makes the version and all return it. ErrKeyNotFound.
	// After another error it may have been made.
	RotateKey(ctx context.Context, name string, after uint32) (uint32, error)
	// KeyVersions returns all versions of a key, the oldest first. ErrKeyNotFound.
	KeyVersions(ctx context.Context, name string) ([]VersionInfo, error)
	// ChangeVersion retires, reinstates or destroys a version. That it is so already is no
	// error. ErrKeyNotFound, ErrVersionNotFound, ErrVersionDestroyed, ErrNewestVersion;
	// ErrUsageUnknown if Force is missing.
	ChangeVersion(ctx context.Context, name string, change VersionChange) error
}

// CiphertextVersion returns the version of the KMS key that sealed a ciphertext,
// without asking anybody. It is what the ciphertext says of itself: whether that is
// authentic shows when it is opened.
func CiphertextVersion(ciphertext []byte) uint32 {
	if s, ok := parseVersioned(ciphertext); ok {
		return s.version
	}
	return 1
}
