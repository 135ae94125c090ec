// Package usage remembers who uses which KMS key: what the last scan of all buckets counted,
// and when the proxies last used each version of a key. Both lie sealed in the system
// bucket, so that all proxies and commands share them. It says whether a version of a key,
// or a whole one, may go without a loss.
package usage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy/maintenance"
	"github.com/bucketseal/bucketseal/proxy/system"
)

// Sentinels.
var (
	// ErrNoScan says that no scan is remembered.
	ErrNoScan = errors.New("no scan of the buckets is remembered")
	// ErrMalformed says that a document of the system bucket is none that this version knows.
	ErrMalformed = errors.New("what is remembered of the use of keys cannot be read")
	// ErrBusy says that another process scans.
	ErrBusy = errors.New("another process scans the buckets")
	// ErrOvertaken says that a younger scan is stored already.
	ErrOvertaken = errors.New("a younger scan is stored already")
)

// Where the documents lie in the system bucket (docs/format.md, section 7).
const (
	// Prefix begins all names.
	Prefix    = "usage/"
	scanName  = Prefix + "scan"
	scanKind  = "usage"
	claimName = Prefix + "claim"
	claimKind = "usage-claim"
	usesName  = Prefix + "uses"
	usesKind  = "usage-uses"
)

const (
	// maxRows bounds what a stored scan counts apart. MinIO can plant records that name any
	// key: what does not fit is counted as unknown.
	maxRows = 20_000
	// maxNamed bounds the objects that a stored scan names because they cannot be read.
	maxNamed = 100
)

// Row is how much lies under one version of a KMS key, in one bucket and mode. KMSKey is ""
// and Version 0 for SSE-C and for plain objects.
type Row struct {
	KMSKey  string `json:"kms_key,omitempty"`
	Version uint32 `json:"kms_key_version,omitempty"`
	Bucket  string `json:"bucket"`
	Mode    string `json:"mode"`
	// Objects counts all versions, Bytes what the storage has of them, Uploads those under
	// way.
	Objects int64 `json:"objects"`
	Bytes   int64 `json:"stored_bytes"`
	Uploads int64 `json:"uploads"`
}

// Unknown is an object whose record cannot be read: it may lie under any key.
type Unknown struct {
	Bucket    string `json:"bucket"`
	Key       string `json:"key"`
	VersionID string `json:"version_id,omitempty"`
	Error     string `json:"error"`
}

// SystemCount is how many of the proxies' own objects in the system bucket lie under a
// version of a KMS key.
type SystemCount struct {
	KMSKey  string `json:"kms_key"`
	Version uint32 `json:"kms_key_version"`
	Objects int64  `json:"objects"`
}

// Scan is what one scan of the buckets found. It says nothing of what was written after it
// began, but what Covered tells.
type Scan struct {
	Began   time.Time `json:"began"`
	Ended   time.Time `json:"ended"`
	Buckets []string  `json:"buckets"`
	Rows    []Row     `json:"counts"`
	// UnknownCount objects may lie under any key; some are named.
	UnknownCount int64     `json:"unknown_count"`
	Unknown      []Unknown `json:"unknown"`
	// Covered has, for each KMS key that was known, the number of a version that was there,
	// everywhere, before the scan began: those before it sealed nothing new since, but what
	// Late tells.
	Covered map[string]uint32 `json:"covered,omitempty"`
	// Since has when each of these versions was made, which tells its key from another one that
	// has its name later.
	Since map[string]time.Time `json:"covered_since,omitempty"`
	// Late is what the proxies' uses had of late writes when the scan began.
	Late map[string]map[uint32]time.Time `json:"late,omitempty"`
	// System are the proxies' own objects; nil if they were not counted.
	System []SystemCount `json:"system,omitempty"`
}

// fromMaintenance makes a Scan of what was counted.
func fromMaintenance(u *maintenance.Usage) *Scan {
	s := &Scan{Began: u.Began.UTC(), Ended: u.Ended.UTC(), Buckets: u.Buckets, Rows: []Row{}, UnknownCount: u.UnknownCount, Unknown: []Unknown{}}
	for at, n := range u.Counts {
		s.Rows = append(s.Rows, Row{at.KMSKey, at.Version, at.Bucket, at.Mode.String(), n.Objects, n.Bytes, n.Uploads})
	}
	slices.SortFunc(s.Rows, Row.compare)
	if len(s.Rows) > maxRows {
		for _, row := range s.Rows[maxRows:] {
			s.UnknownCount += row.Objects + row.Uploads
		}
		s.Rows = s.Rows[:maxRows]
	}
	for _, one := range u.Unknown[:min(len(u.Unknown), maxNamed)] {
		s.Unknown = append(s.Unknown, Unknown{one.Name.Bucket, one.Name.Key, one.Version, one.Err.Error()})
	}
	return s
}

func (r Row) compare(o Row) int {
	return slices.Compare(
		[]string{r.KMSKey, fmt.Sprintf("%010d", r.Version), r.Bucket, r.Mode},
		[]string{o.KMSKey, fmt.Sprintf("%010d", o.Version), o.Bucket, o.Mode})
}

// cover sets what the scan covers.
func (s *Scan) cover(newest map[string]kms.VersionInfo) {
	s.Covered, s.Since = make(map[string]uint32), make(map[string]time.Time)
	for key, v := range newest {
		s.Covered[key], s.Since[key] = v.Version, v.CreatedAt.UTC()
	}
}

// saw says whether the KMS key that has these versions is the one whose versions the scan covers.
func (s *Scan) saw(key string, versions []kms.VersionInfo) bool {
	return slices.ContainsFunc(versions, func(v kms.VersionInfo) bool {
		return v.Version == s.Covered[key] && v.CreatedAt.Equal(s.Since[key])
	})
}

// Of returns the rows of a KMS key, of one version, or of all for 0; of all keys for "".
func (s *Scan) Of(key string, version uint32) []Row {
	rows := []Row{}
	for _, row := range s.Rows {
		if (key == "" || row.KMSKey == key) && (version == 0 || row.Version == version) {
			rows = append(rows, row)
		}
	}
	return rows
}

// systemOf returns how many of the proxies' own objects lie under a KMS key, under one version or, for 0, all.
func (s *Scan) systemOf(key string, version uint32) (n int64) {
	for _, c := range s.System {
		if c.KMSKey == key && (version == 0 || c.Version == version) {
			n += c.Objects
		}
	}
	return n
}

func parseScan(data []byte) (*Scan, error) {
	var s Scan
	if err := json.Unmarshal(data, &s); err != nil || s.Began.IsZero() || s.Ended.Before(s.Began) {
		return nil, fmt.Errorf("%w: %v", ErrMalformed, err) //nolint:errorlint // of the parser
	}
	for _, row := range s.Rows {
		if row.Objects < 0 || row.Bytes < 0 || row.Uploads < 0 {
			return nil, fmt.Errorf("%w: less than nothing", ErrMalformed)
		}
	}
	return &s, nil
}

// Objects are sealed objects of the system bucket: system.Store.
type Objects interface {
	Get(ctx context.Context, kind, name, etag string) (data []byte, newETag string, err error)
	Put(ctx context.Context, kind, name string, data []byte, etag string) (newETag string, err error)
}

// Last returns the last scan that was stored. ErrNoScan, ErrMalformed, or errors of Objects.
func (s *Scanner) Last(ctx context.Context) (*Scan, error) {
	scan, _, err := s.load(ctx)
	return scan, err
}

func (s *Scanner) load(ctx context.Context) (*Scan, string, error) {
	data, etag, err := s.o.Objects.Get(ctx, scanKind, scanName, "")
	if errors.Is(err, system.ErrNotFound) {
		return nil, "", ErrNoScan
	}
	if err != nil {
		return nil, "", err
	}
	scan, err := parseScan(data)
	return scan, etag, err
}

// store stores a scan in the place of an older one. ErrOvertaken.
func (s *Scanner) store(ctx context.Context, scan *Scan) error {
	data, err := json.Marshal(scan)
	if err != nil {
		return err
	}
	for try := 0; ; try++ {
		last, etag, err := s.load(ctx)
		switch {
		case err == nil && last.Began.After(scan.Began):
			return ErrOvertaken
		case errors.Is(err, ErrMalformed): // it is of no use to anybody
		case err != nil && !errors.Is(err, ErrNoScan):
			return err
		}
		_, err = s.o.Objects.Put(ctx, scanKind, scanName, data, etag)
		if err == nil || !errors.Is(err, system.ErrConflict) || try == maxTries {
			return err
		}
	}
}

// maxTries bounds how often a document is written while others change it.
const maxTries = 8
