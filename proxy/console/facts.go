package console

import (
	"context"
	"errors"
	"time"

	"github.com/bucketseal/bucketseal/audit/trail"
)

// Errors of Facts.
var (
	// ErrNoScan says that the buckets were not counted yet.
	ErrNoScan = errors.New("the buckets were not counted yet")
	// ErrNoAudit says that the audit log is in no file.
	ErrNoAudit = errors.New("there is no audit log in a file that could be searched")
)

// Facts is what the proxy knows and operators may. It holds no secret.
type Facts interface {
	// IsOperator says whether the proxy's configuration makes an access key an operator's.
	IsOperator(ctx context.Context, accessKey string) bool
	// Scan returns what the last scan of all buckets counted. ErrNoScan.
	Scan(ctx context.Context) (*Scan, error)
	// Keys describes KMS keys, in order. A key that cannot be described has a Problem.
	Keys(ctx context.Context, names []string) []Key
	// Identities are those who may sign requests, temporary ones left out.
	Identities(ctx context.Context) ([]Identity, error)
	// State is how things are.
	State() State
	// Findings is what the doctor has found last; nil if it has not looked yet.
	Findings() *Findings
	// Settings is the configuration in force.
	Settings() []Setting
	// Search returns lines of the audit log, the last ones that match, and whether there are
	// more. ErrNoAudit.
	Search(ctx context.Context, q trail.Query) (lines []*trail.Line, more bool, err error)
}

// Scan is what one scan of the buckets counted.
type Scan struct {
	Began time.Time
	// Buckets are the objects by bucket, and Keys by KMS key.
	Buckets map[string]Share
	Keys    map[string]int64
	// Unknown is how many objects have a record that cannot be read.
	Unknown int64
}

// Share is how many objects of a bucket, all versions, are encrypted.
type Share struct{ Encrypted, Plain, Bytes int64 }

// All is how many there are.
func (s Share) All() int64 { return s.Encrypted + s.Plain }

// Percent is the share of encrypted ones, rounded down: 100 means all.
func (s Share) Percent() int64 {
	if s.All() == 0 {
		return 0
	}
	return 100 * s.Encrypted / s.All()
}

// Key is a KMS key.
type Key struct {
	Name, Algorithm, CreatedBy string
	Version                    uint32
	// Created is when the key was made, and Rotated when its newest version was.
	Created, Rotated time.Time
	// Sealed and Opened are its last uses; zero is "not seen".
	Sealed, Opened time.Time
	// Objects lie under it as the last scan has it; -1 is unknown.
	Objects int64
	Problem string
}

// Identity is somebody who may sign requests.
type Identity struct {
	AccessKey, Kind string
	// By is who asked for it, the nearest first.
	By []string
	// KeyAdmin says that the configuration makes it an operator.
	KeyAdmin bool
	// Uses is what it may do with KMS keys, a sentence for each rule.
	Uses []string
}

// State is how MinIO and the key service are.
type State struct {
	Storage, Keys bool
	// Words say what is amiss.
	Words string
}

// Finding is one thing that the doctor has found.
type Finding struct{ ID, Severity, What, Why, Do string }

// Findings is what it has found, and what it could not look at.
type Findings struct {
	All     []Finding
	Unknown []string
}

// Setting is one setting in force.
type Setting struct {
	Path, Source string
	Values       []string
	Live         bool
}

// Object names an object, or a version of it.
type Object struct{ Bucket, Key, Version string }

// Stored is an object as MinIO has it.
type Stored struct {
	// Size is what MinIO stores, in bytes.
	Size int64
	// First are its first bytes.
	First []byte
	// Header is what MinIO says of it besides.
	Header []Field
	// Record is what of the object's record can be read without a key; nil if it has none.
	Record []Field
	// Problem says what is wrong with the record.
	Problem string
}

// Field is a name and a value. Sealed says that nobody reads the value without a KMS key, and
// that it is shown as the bytes that it is.
type Field struct {
	Name, Value, Means string
	Sealed             bool
}
