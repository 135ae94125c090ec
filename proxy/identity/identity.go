// Package identity says who may sign requests, with which secret, and what each
// of them may do with encryption keys.
//
// There are identities that the configuration lists, and learned ones: those
// that MinIO issued or took in a call that passed through the proxy, and those
// that an operator added by command. Learned secrets are sealed in the system
// bucket, so that every proxy knows them. Upstream holds that bucket and is not
// trusted: it can withhold an identity or put an older state back, and neither
// forge one nor give one more rights.
package identity

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Sentinels of this package.
var (
	// ErrUnknown says that nobody has this access key.
	ErrUnknown = errors.New("unknown access key")
	// ErrExpired says that the credential was valid once.
	ErrExpired = errors.New("the credential has expired")
	// ErrToken says that a request does not carry the session token that belongs
	// to its access key.
	ErrToken = errors.New("session token of no known session")
	// ErrProtected says that an access key is the configuration's or the
	// operator's: nothing that passes through the proxy changes it.
	ErrProtected = errors.New("the access key is configured, or was added by command")
	// ErrInsecure says that the way to upstream is neither TLS nor this machine:
	// secrets that travel there are not learned.
	ErrInsecure = errors.New("secrets are not learned over a connection to upstream that others can read")
	// ErrInvalid says that an identity cannot be kept.
	ErrInvalid = errors.New("invalid identity")
	// ErrFull says that there is no room for another long-lived identity.
	ErrFull = errors.New("too many learned identities")
	// ErrUnavailable says that it cannot be told whether an access key is known.
	ErrUnavailable = errors.New("learned identities cannot be read or written")
	// ErrBusy says that too many unknown access keys are asked for.
	ErrBusy = errors.New("too many access keys are being looked up")
	// ErrNotAllowed says that an identity may not do this with this key here.
	ErrNotAllowed = errors.New("access is not allowed")
)

// Kind is how an identity came to be known.
type Kind string

// Kinds.
const (
	Configured     Kind = "configured"      // listed in the configuration
	Added          Kind = "added"           // added by an operator's command
	User           Kind = "user"            // a user of MinIO, made through the proxy
	ServiceAccount Kind = "service-account" // of a user of MinIO, made through the proxy
	Temporary      Kind = "temporary"       // issued by MinIO's STS
)

// Kinds returns all kinds.
func Kinds() []Kind { return []Kind{Configured, Added, User, ServiceAccount, Temporary} }

// Source is which call issued a temporary credential.
type Source string

// Sources, each named after its STS action.
const (
	AssumeRole      Source = "assume-role"
	WebIdentity     Source = "web-identity"
	ClientGrants    Source = "client-grants"
	LDAP            Source = "ldap"
	Certificate     Source = "certificate"
	CustomToken     Source = "custom-token"
	maxCreators            = 16       // between an identity and the one at its root
	maxKeyLength           = 256      // bytes of an access key; MinIO's have up to 128
	maxSecretLength        = 1 << 10  // bytes of a secret key
	maxTokenLength         = 12 << 10 // bytes of a session token; a note holds 32 KiB, sealed and in base64
)

// Sources returns all sources.
func Sources() []Source {
	return []Source{AssumeRole, WebIdentity, ClientGrants, LDAP, Certificate, CustomToken}
}

// Identity is somebody who may sign requests. It prints without its secrets.
type Identity struct {
	AccessKey string
	SecretKey string
	// SessionToken must come with every request; "" for long-lived identities.
	SessionToken string
	Kind         Kind
	// Creator is the access key of the verified identity that asked for this one;
	// "" if none did. Its rights bound those of this one.
	Creator string
	// Parent is whose account this is at MinIO, as far as MinIO said; "" if
	// unknown. It is upstream's word and decides nothing.
	Parent string
	// Source says which call issued a temporary identity; else "".
	Source Source
	// Expires is when it ends; zero for never.
	Expires time.Time

	// upstream is the pair that the configuration gives it towards upstream; nil if
	// that is its own.
	upstream *Pair
	// serial tells this identity from others that had the same access key.
	serial string
	// creators are those above it, the nearest first, as they were when it was learned.
	creators []creator
}

// Names are the access keys that policies may know an identity by: its own, for
// sessions and service accounts those above it up to the user whose they are, and
// whose account it is at MinIO.
func (i *Identity) Names() []string {
	names := []string{i.AccessKey}
	if i.upstream != nil && i.upstream.AccessKey != i.AccessKey {
		names = append(names, i.upstream.AccessKey)
	}
	derived := func(k Kind) bool { return k == Temporary || k == ServiceAccount }
	below := i.Kind
	for _, c := range i.creators {
		if !derived(below) {
			break
		}
		names, below = append(names, c.AccessKey), c.Kind
	}
	if i.Parent != "" && !slices.Contains(names, i.Parent) {
		names = append(names, i.Parent)
	}
	return names
}

// Pair is an access key at upstream and its secret. It prints without the secret.
type Pair struct{ AccessKey, SecretKey string }

// Format prints the access key, whatever the verb.
func (p Pair) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, p.AccessKey+":[redacted]") }

// AtUpstream is the pair with which requests are signed towards upstream for the
// identity: its own, unless the configuration gives it another one.
func (i *Identity) AtUpstream() Pair {
	if i.upstream != nil {
		return *i.upstream
	}
	return Pair{i.AccessKey, i.SecretKey}
}

// Account is the access key by which upstream knows what is made for the identity; ""
// if that is its own.
func (i *Identity) Account() string {
	if i.upstream != nil {
		return i.upstream.AccessKey
	}
	return i.Parent
}

// creator is what is remembered of an identity that asked for another.
type creator struct {
	AccessKey string `json:"accessKey"`
	Kind      Kind   `json:"kind"`
	Source    Source `json:"source,omitempty"`
	Serial    string `json:"serial,omitempty"`
}

// Format prints who it is and no secret, whatever the verb.
func (i Identity) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, string(i.Kind)+" "+i.AccessKey+" [redacted]")
}

// LogValue implements slog.LogValuer.
func (i Identity) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(i)) }

// MarshalJSON writes what Format prints.
func (i Identity) MarshalJSON() ([]byte, error) { return json.Marshal(fmt.Sprint(i)) }

// CheckToken says whether token is the one that belongs to the identity: its
// session token, or none. ErrToken.
func (i *Identity) CheckToken(token string) error {
	if subtle.ConstantTimeCompare([]byte(token), []byte(i.SessionToken)) != 1 {
		return ErrToken
	}
	return nil
}

// expired says whether it has ended at now.
func (i *Identity) expired(now time.Time) bool {
	return !i.Expires.IsZero() && !now.Before(i.Expires)
}

// check says whether it can be learned. ErrInvalid.
func (i *Identity) check() error {
	switch {
	case !validText(i.AccessKey, maxKeyLength) || len(i.AccessKey) < 3:
		return fmt.Errorf("%w: access key", ErrInvalid)
	case !validText(i.SecretKey, maxSecretLength) || len(i.SecretKey) < 8:
		return fmt.Errorf("%w: secret key of %q", ErrInvalid, i.AccessKey)
	case len(i.Parent) > maxSecretLength || !utf8.ValidString(i.Parent):
		return fmt.Errorf("%w: parent of %q", ErrInvalid, i.AccessKey)
	}
	if i.Kind != Temporary {
		if i.SessionToken != "" || i.Source != "" || i.Kind != Added && i.Kind != User && i.Kind != ServiceAccount {
			return fmt.Errorf("%w: %q cannot be %s with a session", ErrInvalid, i.AccessKey, i.Kind)
		}
		return nil
	}
	switch {
	case !validText(i.SessionToken, maxTokenLength):
		return fmt.Errorf("%w: session token of %q", ErrInvalid, i.AccessKey)
	case i.Expires.IsZero():
		return fmt.Errorf("%w: %q has no end", ErrInvalid, i.AccessKey)
	case !knownSource(i.Source):
		return fmt.Errorf("%w: %q comes from %q", ErrInvalid, i.AccessKey, i.Source)
	case i.Source == AssumeRole && i.Creator == "":
		return fmt.Errorf("%w: nobody assumed the role of %q", ErrInvalid, i.AccessKey)
	}
	return nil
}

func knownSource(s Source) bool {
	for _, known := range Sources() {
		if s == known {
			return true
		}
	}
	return false
}

// validText refuses what could not stand in a header or a credential.
func validText(s string, limit int) bool {
	return s != "" && len(s) <= limit && utf8.ValidString(s) &&
		!strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f })
}
