package batchjobs

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/operator/yamlfile"
	"github.com/bucketseal/bucketseal/proxy/glob"
	"github.com/bucketseal/bucketseal/sse"
)

// Sentinels of Parse. Both come with a *Problem.
var (
	// ErrMalformed says that a text is no definition of a job.
	ErrMalformed = errors.New("not the definition of a batch job")
	// ErrRefused says that a job, or a part of one, is not offered.
	ErrRefused = errors.New("not offered")
)

// Problem says what is wrong with a definition. Its text may be shown to the client.
type Problem struct {
	// Err is ErrMalformed or ErrRefused, Text what is wrong.
	Err  error
	Text string
}

// Error returns the text.
func (p *Problem) Error() string { return p.Text }

// Unwrap returns the sentinel.
func (p *Problem) Unwrap() error { return p.Err }

func malformed(n *yamlfile.Node, format string, args ...any) error {
	return &Problem{ErrMalformed, fmt.Sprintf("line %d: ", n.Line) + fmt.Sprintf(format, args...)}
}

func refused(format string, args ...any) error {
	return &Problem{ErrRefused, fmt.Sprintf(format, args...)}
}

// Spec is a job of the kind keyrotate.
type Spec struct {
	// Bucket and Prefix say which objects.
	Bucket, Prefix string
	// Mode is how the objects shall be encrypted.
	Mode sse.Mode
	// Key is the KMS key of SSE-KMS, "" for SSE-S3, which has its own.
	Key string
	// Filter chooses among the objects.
	Filter Filter
	// Attempts is how often the job is begun at most, while objects fail, and Delay how long
	// it waits in between.
	Attempts int
	Delay    time.Duration
}

// Filter chooses among versions of objects: all that is set must hold.
type Filter struct {
	// NewerThan and OlderThan bound the age, 0 for none.
	NewerThan, OlderThan time.Duration
	// CreatedAfter and CreatedBefore bound when it was stored, zero for none.
	CreatedAfter, CreatedBefore time.Time
	// Tags and Metadata are names and patterns of values, of each of which one must match.
	Tags, Metadata []Pair
	// KMSKey is the KMS key that the object names, "" for any.
	KMSKey string
}

// Pair is a name and a pattern of its value.
type Pair struct {
	Name, Value string
}

// IsZero says that the filter lets everything pass.
func (f *Filter) IsZero() bool {
	return f.NewerThan == 0 && f.OlderThan == 0 && f.CreatedAfter.IsZero() && f.CreatedBefore.IsZero() &&
		len(f.Tags) == 0 && len(f.Metadata) == 0 && f.KMSKey == ""
}

// What a definition may hold at most, and what is not said.
const (
	maxPairs        = 100
	maxAttempts     = 100
	defaultAttempts = 3
	defaultDelay    = 250 * time.Millisecond
)

// Parse reads a definition as `mc batch start` sends it. ErrMalformed, ErrRefused.
func Parse(text []byte) (*Spec, error) {
	root, err := yamlfile.NewSource(text).Parse(yamlfile.Plain)
	if err != nil {
		return nil, &Problem{ErrMalformed, "it is not YAML that can be read: " + err.Error()}
	}
	if root.Kind != yamlfile.Mapping {
		return nil, malformed(root, "a batch job begins with its kind, as in \"keyrotate:\"")
	}
	s := &Spec{Attempts: defaultAttempts, Delay: defaultDelay}
	found := false
	for _, f := range root.Fields {
		switch {
		case f.Key.Text == "keyrotate" && !found:
			found = true
			err = s.readJob(f.Value)
		case f.Key.Text == "replicate" || f.Key.Text == "expire":
			if f.Value.Kind != yamlfile.Null {
				err = refused("batch jobs of the kind %s: they would copy or delete objects past the proxy", f.Key.Text)
			}
		default:
			err = malformed(f.Key, "%q is no kind of batch job", short(f.Key.Text))
		}
		if err != nil {
			return nil, err
		}
	}
	if !found {
		return nil, malformed(root, "a batch job begins with its kind, as in \"keyrotate:\"")
	}
	return s, s.check()
}

// short keeps what a message quotes short.
func short(s string) string {
	if len(s) > 64 {
		return s[:64] + "..."
	}
	return s
}

func (s *Spec) check() error {
	root := &yamlfile.Node{Line: 1}
	switch {
	case s.Bucket == "":
		return malformed(root, "keyrotate.bucket is missing")
	case s.Mode == sse.ModeNone:
		return malformed(root, "keyrotate.encryption.type is missing: sse-s3 or sse-kms")
	case s.Mode == sse.ModeS3 && s.Key != "":
		return malformed(root, "keyrotate.encryption.key is for sse-kms; objects of SSE-S3 lie under the key that the proxy has for them")
	case s.Mode == sse.ModeKMS && s.Key == "":
		return malformed(root, "keyrotate.encryption.key is missing")
	}
	return nil
}

// reader reads the value of one setting.
type reader func(n *yamlfile.Node) error

// fields gives the fields of a mapping to their readers. What is null is not set.
func fields(n *yamlfile.Node, where string, readers map[string]reader) error {
	if n.Kind == yamlfile.Null {
		return nil
	}
	if n.Kind != yamlfile.Mapping {
		return malformed(n, "%s is to be a mapping", where)
	}
	seen := make(map[string]bool)
	for _, f := range n.Fields {
		read := readers[f.Key.Text]
		switch {
		case read == nil:
			return malformed(f.Key, "%s.%s is not known", where, short(f.Key.Text))
		case seen[f.Key.Text]:
			return malformed(f.Key, "%s.%s is there twice", where, f.Key.Text)
		}
		seen[f.Key.Text] = true
		if f.Value.Kind == yamlfile.Null {
			continue
		}
		if err := read(f.Value); err != nil {
			return err
		}
	}
	return nil
}

func text(into *string, where string) reader {
	return func(n *yamlfile.Node) error {
		if !n.IsScalar() {
			return malformed(n, "%s is to be a text", where)
		}
		*into = n.Text
		return nil
	}
}

// never refuses a setting that is not empty.
func never(where, why string) reader {
	return func(n *yamlfile.Node) error {
		if n.IsScalar() && n.Text == "" {
			return nil
		}
		return refused("%s: %s", where, why)
	}
}

func (s *Spec) readJob(n *yamlfile.Node) error {
	if n.Kind != yamlfile.Mapping {
		return malformed(n, "keyrotate is to be a mapping")
	}
	var version string
	err := fields(n, "keyrotate", map[string]reader{
		"apiVersion": text(&version, "apiVersion"),
		"bucket":     text(&s.Bucket, "bucket"),
		"prefix":     text(&s.Prefix, "prefix"),
		"encryption": s.readEncryption,
		"flags":      s.readFlags,
	})
	if err == nil && version != "v1" {
		err = malformed(n, "keyrotate.apiVersion is to be v1")
	}
	return err
}

func (s *Spec) readEncryption(n *yamlfile.Node) error {
	return fields(n, "encryption", map[string]reader{
		"type": func(n *yamlfile.Node) error {
			switch n.Text {
			case "sse-s3":
				s.Mode = sse.ModeS3
			case "sse-kms":
				s.Mode = sse.ModeKMS
			default:
				return malformed(n, "encryption.type is sse-s3 or sse-kms")
			}
			return nil
		},
		"key": func(n *yamlfile.Node) error {
			s.Key = strings.TrimPrefix(n.Text, sse.KeyARNPrefix)
			if err := kms.ValidateKeyName(s.Key); n.Text != "" && err != nil {
				return malformed(n, "encryption.key is no name of a KMS key")
			}
			return nil
		},
		"context": func(n *yamlfile.Node) error {
			decoded, err := base64.StdEncoding.DecodeString(n.Text)
			if text := strings.TrimSpace(string(decoded)); err == nil && (text == "" || text == "{}") {
				return nil
			}
			return refused("encryption.context: the encryption context is a part of the object, and stays what its client gave")
		},
	})
}

func (s *Spec) readFlags(n *yamlfile.Node) error {
	const noNotify = "the proxy calls nobody; ask with `mc batch status`"
	return fields(n, "flags", map[string]reader{
		"filter": s.Filter.read,
		"notify": func(n *yamlfile.Node) error {
			return fields(n, "notify", map[string]reader{"endpoint": never("notify.endpoint", noNotify), "token": never("notify.token", noNotify)})
		},
		"retry": func(n *yamlfile.Node) error {
			return fields(n, "retry", map[string]reader{
				"attempts": func(n *yamlfile.Node) (err error) {
					if s.Attempts, err = strconv.Atoi(n.Text); err != nil || s.Attempts < 0 || s.Attempts > maxAttempts {
						return malformed(n, "retry.attempts is a number from 0 to %d", maxAttempts)
					}
					if s.Attempts == 0 {
						s.Attempts = defaultAttempts
					}
					return nil
				},
				"delay": func(n *yamlfile.Node) (err error) {
					if s.Delay, err = time.ParseDuration(n.Text); err != nil || s.Delay < 0 || s.Delay > time.Hour {
						return malformed(n, "retry.delay is a time such as 500ms, an hour at most")
					}
					return nil
				},
			})
		},
	})
}

func (f *Filter) read(n *yamlfile.Node) error {
	key := func(n *yamlfile.Node) error {
		if !n.IsScalar() {
			return malformed(n, "filter.kmskeyid is to be a text")
		}
		f.KMSKey = strings.TrimPrefix(n.Text, sse.KeyARNPrefix)
		return nil
	}
	return fields(n, "filter", map[string]reader{
		"newerThan": age(&f.NewerThan, "filter.newerThan"), "olderThan": age(&f.OlderThan, "filter.olderThan"),
		"createdAfter": date(&f.CreatedAfter, "filter.createdAfter"), "createdBefore": date(&f.CreatedBefore, "filter.createdBefore"),
		"tags": pairs(&f.Tags, "filter.tags"), "metadata": pairs(&f.Metadata, "filter.metadata"),
		"kmskeyid": key, "kmskey": key, // as MinIO reads it, and as its template says
	})
}

func age(into *time.Duration, where string) reader {
	return func(n *yamlfile.Node) (err error) {
		if *into, err = parseAge(n.Text); err != nil {
			return malformed(n, "%s is a time such as 7d10h31s", where)
		}
		return nil
	}
}

func date(into *time.Time, where string) reader {
	return func(n *yamlfile.Node) error {
		if n.Text == "" {
			return nil
		}
		for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", time.DateTime, time.DateOnly} {
			if at, err := time.Parse(layout, n.Text); err == nil {
				*into = at
				return nil
			}
		}
		return malformed(n, "%s is a date such as 2026-01-31T12:00:00Z", where)
	}
}

func pairs(into *[]Pair, where string) reader {
	return func(n *yamlfile.Node) error {
		if n.Kind != yamlfile.List || len(n.Items) > maxPairs {
			return malformed(n, "%s is a list of at most %d keys with their values", where, maxPairs)
		}
		for _, item := range n.Items {
			var p Pair
			err := fields(item, where, map[string]reader{"key": text(&p.Name, where+".key"), "value": text(&p.Value, where+".value")})
			if err == nil && p.Name == "" {
				err = malformed(item, "%s has an entry without a key", where)
			}
			if err != nil {
				return err
			}
			*into = append(*into, p)
		}
		return nil
	}
}

// errAge says that a text is no time.
var errAge = errors.New("no time")

// parseAge reads a time that may be in days, weeks and years too: 7d10h31s.
func parseAge(s string) (time.Duration, error) {
	if s == "" || s == "0" {
		return 0, nil
	}
	var sum time.Duration
	for s != "" {
		number := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' })
		if number <= 0 {
			return 0, errAge
		}
		length := strings.IndexFunc(s[number:], func(r rune) bool { return r >= '0' && r <= '9' })
		if length < 0 {
			length = len(s) - number
		}
		n, err := strconv.ParseInt(s[:number], 10, 32)
		if err != nil {
			return 0, errAge
		}
		unit, err := unitOf(s[number : number+length])
		if err != nil || unit > 0 && n > int64((100*365*24*time.Hour)/unit) {
			return 0, errAge
		}
		sum += time.Duration(n) * unit
		s = s[number+length:]
	}
	return sum, nil
}

func unitOf(name string) (time.Duration, error) {
	const day = 24 * time.Hour
	switch name {
	case "d":
		return day, nil
	case "w":
		return 7 * day, nil
	case "y":
		return 365 * day, nil
	}
	return time.ParseDuration("1" + name)
}

// Object is what a filter judges of a version of an object.
type Object struct {
	Modified time.Time
	KMSKey   string
	// Metadata and Tags are its own.
	Metadata, Tags []Pair
}

// Passes says whether a version is chosen, by the time that it is now.
func (f *Filter) Passes(o *Object, now time.Time) bool {
	old := now.Sub(o.Modified)
	switch {
	case f.NewerThan > 0 && old >= f.NewerThan, f.OlderThan > 0 && old < f.OlderThan,
		!f.CreatedAfter.IsZero() && !o.Modified.After(f.CreatedAfter), !f.CreatedBefore.IsZero() && !o.Modified.Before(f.CreatedBefore),
		f.KMSKey != "" && o.KMSKey != f.KMSKey:
		return false
	}
	return anyOf(f.Tags, o.Tags, false) && anyOf(f.Metadata, o.Metadata, true)
}

// anyOf says whether one of the wanted pairs is there, or none is wanted. Names of metadata
// have no case.
func anyOf(wanted, has []Pair, fold bool) bool {
	return len(wanted) == 0 || slices.ContainsFunc(wanted, func(w Pair) bool {
		return slices.ContainsFunc(has, func(h Pair) bool {
			same := h.Name == w.Name || fold && strings.EqualFold(h.Name, w.Name)
			return same && glob.Patterns{w.Value}.Match(h.Value)
		})
	})
}
