// Package storage says what bucketseal needs of the object storage behind it: one
// small interface, Backend, and what each call promises. Package upstream implements it
// on MinIO, package memory for tests, and package storagetest holds both to it.
//
// # What every Backend promises
//
// Atomicity: an object is replaced as a whole, or not at all. A reader gets data,
// metadata and record of one write, never of two. So it is with a Copy of an object onto
// itself that names a checksum (see Copy.Checksum).
//
// Conditions: IfMatch and IfNoneMatch are judged at the instant at which the object is
// replaced, in versioned buckets too. Of many writers that create one object with
// IfNoneMatch "*", or replace one ETag, exactly one succeeds.
//
// Order: listings are in the order of the keys' bytes, versions of a key from the newest.
// A listing shows every write that was acknowledged before it was asked for.
//
// Failure: an *Error is the storage's own answer, and it has done nothing. After
// ErrUnreachable, and after the context's error, nobody knows: the call may have been
// carried out, may be carried out yet, or not at all. No call is repeated by itself once
// a part of it was sent.
package storage

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/proxy/checksum"
	"github.com/bucketseal/bucketseal/sse"
)

// Storage gives access to one object storage.
type Storage interface {
	// As returns the storage as a caller sees it, who is held to its rights there.
	As(Actor) Backend
	// Own returns the storage under the proxy's own credential. The actor is on whose
	// behalf something is looked up, zero for nobody: what it says, and not its
	// credential, goes along. Refusals of that credential are ErrOwnCredential or ErrOwnRights,
	// too: no client is to take them for its own.
	Own(Actor) Backend
	// Capabilities returns what the storage can do beyond the plain S3 of Backend.
	Capabilities() Capabilities
}

// Backend is the storage as one actor sees it. It is safe for concurrent use. Names are
// canonical keys (DESIGN, "One object, one name"). Every method returns *Error for what
// the storage answers, ErrUnreachable, or the context's error or cause. Put, Copy,
// CreateUpload, PutPart and Delete take the request's Meta over.
type Backend interface {
	// Put stores an object. If reading Body fails, its error is returned and nothing is
	// stored.
	Put(context.Context, *Put) (*Stored, error)
	// Get returns an object, or a range of it; the caller closes it. A range beyond the
	// end is ErrRange, a failed IfMatch ErrPrecondition.
	Get(context.Context, *Get) (*Object, error)
	// Head returns what Get would say of the object.
	Head(context.Context, *Get) (*Info, error)
	// Delete removes the current version, which in a versioned bucket leaves a marker, or
	// the version that is named. An object that does not exist is no error.
	Delete(context.Context, *Delete) (Metadata, error)
	// Copy has the storage copy an object. ErrPrecondition if the source is another one
	// than SourceMatch says.
	Copy(context.Context, *Copy) (*Stored, error)
	// List returns one page of a listing. ErrListing for one that cannot be read.
	List(context.Context, *List) (*Page, error)
	// Tags returns the tags of an object, none if it has none.
	Tags(context.Context, *Get) (map[string]string, error)

	// CreateUpload begins an upload in parts and returns its id: ASCII letters, digits
	// and "-_.~=+", at most 180 bytes.
	CreateUpload(context.Context, *CreateUpload) (id string, err error)
	// PutPart stores a part, or replaces it, and returns its ETag without quotes: the
	// MD5 of its bytes in hex. ErrNoSuchUpload.
	PutPart(context.Context, *PutPart) (etag string, err error)
	// Complete puts parts together. The object's ETag is the MD5 of the parts' MD5s, a
	// hyphen and their number. ErrNoSuchUpload, ErrPrecondition.
	Complete(context.Context, *Complete) (*Stored, error)
	// Abort ends an upload. ErrNoSuchUpload, or nil, for one that does not exist.
	Abort(context.Context, *Upload) error
	// ListParts returns one page of the parts that an upload has, in their order.
	// ErrNoSuchUpload.
	ListParts(context.Context, *ListParts) (*PartPage, error)
	// ObjectParts returns the parts that a stored object was put together from.
	ObjectParts(context.Context, *Get) ([]ObjectPart, error)

	// Locks says whether versions of a bucket can be locked, and whether what is stored there
	// gets a retention that its writer does not ask for.
	Locks(ctx context.Context, bucket string) (locks, retains bool, err error)
	// ReadsLock says whether the actor is told of an object's retention and legal hold: nil,
	// or the storage's refusal. Whoever may not read them gets an answer without them.
	ReadsLock(context.Context, *Get) error

	// May says whether the actor may do something, and does not do it: nil, or the
	// storage's refusal. Rights are judged before all else, so that what the proxy finds
	// out for a caller is told only to whom the storage would have told it.
	May(context.Context, *Question) error
}

// Capabilities are what a storage can do beyond plain S3. The engine asks for each of
// them here and assumes none.
type Capabilities struct {
	// ListsMetadata says that a listing can bring the metadata of its objects. Without
	// it every listed object is looked up.
	ListsMetadata bool
	// KeepsCreationDates says that a bucket's creation date never changes, so that a
	// rule can tell a bucket that was made anew.
	KeepsCreationDates bool
	// PredictsETags says that ETags follow from the bytes: the MD5 of what a Put or a
	// part brought, and of the parts' MD5s and their number for what a Complete put
	// together. A manifest is written before its object and named by its ETag.
	PredictsETags bool
	// ConditionsInVersions says that the conditions of writes hold in buckets that keep
	// versions too.
	ConditionsInVersions bool
	// ReplacesVersions says that a Put can take the place of a version.
	ReplacesVersions bool
	// RecordBytes is how long a record every call keeps that stores one.
	RecordBytes int
	// Checksums are those that the storage verifies and returns.
	Checksums checksum.Set
	// Secure says that nobody on the way to the storage can change what is sent.
	Secure bool
}

// Missing names what an engine cannot do without and the storage lacks, "" for nothing.
func (c Capabilities) Missing() string {
	switch {
	case !c.PredictsETags:
		return "ETags that follow from the bytes"
	case !c.ConditionsInVersions:
		return "conditions on writes in buckets that keep versions"
	case c.RecordBytes < sse.MaxRecordLength:
		return fmt.Sprintf("records of %d bytes", sse.MaxRecordLength)
	}
	return ""
}

// Credential is an access key of the storage. It prints without its secrets.
type Credential struct {
	AccessKey    string
	SecretKey    string
	SessionToken string // "" for none
}

// String hides the secrets.
func (c Credential) String() string { return c.AccessKey + ":[redacted]" }

// GoString hides the secrets.
func (c Credential) GoString() string { return c.String() }

// Actor is on whose behalf something is asked, and what the storage's own policies are to
// see of that client's request. The zero value is a caller without a signature.
type Actor struct {
	// Credential signs; nil sends requests without a signature.
	Credential *Credential
	// Agent and Referer are the client's, Addr is where it is, if that is known.
	Agent, Referer string
	Addr           netip.Addr
	// Told are conditions' values by the names that policies have for them.
	Told map[string][]string
}

// Metadata is what S3 says of an object in headers, by their canonical names, such as
// "Content-Type" or "X-Amz-Meta-Colour".
type Metadata map[string][]string

// Get returns the first value of a canonical name, "" for none.
func (m Metadata) Get(name string) string {
	if v := m[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// Values returns all values of a canonical name.
func (m Metadata) Values(name string) []string { return m[name] }

// Set gives a canonical name one value.
func (m Metadata) Set(name, value string) { m[name] = []string{value} }

// Conditions are what must hold of the object that a write replaces: an ETag in quotes,
// or "*", or "" for nothing.
type Conditions struct{ IfMatch, IfNoneMatch string }

// Body is the content of a write.
type Body struct {
	// Reader may be an io.Closer, which is closed then. Nil is an empty body.
	Reader io.Reader
	// Length is its exact length in bytes.
	Length int64
	// Again, if not nil, gives the same bytes once more, for a connection that was closed
	// before anything was sent on it.
	Again func() (io.ReadCloser, error)
	// Expect asks first whether the storage wants the body: a refusal costs no transfer.
	Expect bool
	// Unprotected says that nothing in the body shows that it was changed on the way.
	Unprotected bool
	// Trailer follows the body. Its values may change until Reader ends, but not their
	// lengths.
	Trailer Metadata
}

// Put asks for an object to be stored.
type Put struct {
	Name sse.Name
	// Meta is what is stored with it, the record apart, and digests of the body that the
	// storage is to verify and keep. Put takes it over.
	Meta   Metadata
	Record string // "" for none
	Conditions
	// Instead, if not nil, stores the object in the place of a version.
	Instead *Instead
	Body
}

// Instead is the place of a version of an object that another content takes, of the same
// id and age: Capabilities.ReplacesVersions. The conditions are judged on that version. A
// version that the storage must not change (a retention, a legal hold) is ErrLocked.
type Instead struct {
	// Version is the version's id, "null" for the null version of a bucket that has or had
	// versions, "" in a bucket that never had any.
	Version string
	// Modified is when the version was last modified. Versions are in the order of it.
	Modified time.Time
}

// Stored is what the storage says of a write.
type Stored struct {
	// ETag is in quotes, if the storage quotes it.
	ETag string
	// Version is the version id; "" in a bucket without versions.
	Version string
	// Modified is when the object was stored; zero if the storage did not say.
	Modified time.Time
	// After and Before are times between which it was stored, by the clock that listings
	// tell the time of; both are zero if that is not known.
	After, Before time.Time
	// Meta is what else the answer says, by its headers' names.
	Meta Metadata
}

// Range asks for the bytes First to Last, both included. Last is -1 for all bytes from
// First on. A negative First asks for that many bytes at the end.
type Range struct{ First, Last int64 }

// Get asks for an object.
type Get struct {
	Name sse.Name
	// Version is a version id, "null", or "" for the current one.
	Version string
	// Range is nil for the whole object.
	Range *Range
	// Part asks for a part, by its number, of an object without a record; 0 for none. Of
	// an object whose parts' numbers have gaps MinIO may return another part: Info.At says
	// which it is. ErrRange if no part has that number.
	Part int
	// IfMatch is the ETag that the object must have, "" for any.
	IfMatch string
	// Checksums asks for the checksums that the storage has.
	Checksums bool
	// Answer are S3's parameters response-*, which change the answer's metadata.
	Answer map[string][]string
}

// Info is what the storage says of an object.
type Info struct {
	// ETag is as the storage answers it, in quotes.
	ETag string
	// Size is the length in bytes of the answer's body, -1 if the storage did not say.
	Size int64
	// Part says that the answer is a part of the object, which is At of Total bytes.
	// Total is -1 if the storage did not say where the part lies.
	Part  bool
	At    sse.Range
	Total int64
	// Modified is when it was stored, in whole seconds.
	Modified time.Time
	// Version is its version id, "" if the storage did not say.
	Version string
	// Meta is what the answer says by its headers' names, but for reserved metadata.
	Meta Metadata
	// Reserved is metadata under names that begin as the record's does, in any case.
	Reserved []MetaEntry
}

// MetaEntry is one metadata entry. MinIO keeps names of different case apart.
type MetaEntry struct{ Name, Value string }

// Object is an object with its body. Reading it fails with ErrUnreachable, or with the
// context's error, where it is cut off.
type Object struct {
	Info
	io.ReadCloser
}

// Delete asks for an object, or a version of it, to be removed.
type Delete struct {
	Name    sse.Name
	Version string
	// Meta are the request's own headers, such as X-Amz-Bypass-Governance-Retention.
	Meta Metadata
}

// Copy asks for a copy.
type Copy struct {
	Name   sse.Name
	Meta   Metadata // of the copy, as in Put
	Record string
	Source Source
	// SourceMatch is the ETag that the source must have.
	SourceMatch string
	// Tagging is "REPLACE" or "COPY" as the client said it, "" for the default.
	Tagging string
	// Checksum is the algorithm of a checksum that the storage is to compute, "" for
	// none. With one, data and metadata of a copy onto itself are written together.
	Checksum string
}

// Source is the source of a copy.
type Source struct {
	Name    sse.Name
	Version string
	// Slash says that the client wrote a slash before the bucket: policies compare texts.
	Slash bool
}

// Text is the source as x-amz-copy-source names it, URL-encoded.
func (s Source) Text() string {
	segments := strings.Split(s.Name.Key, "/")
	for i := range segments {
		segments[i] = url.PathEscape(segments[i])
	}
	text := s.Name.Bucket + "/" + strings.Join(segments, "/")
	if s.Slash {
		text = "/" + text
	}
	if s.Version != "" {
		text += "?versionId=" + url.QueryEscape(s.Version)
	}
	return text
}

// List asks for a page of a listing.
type List struct {
	Bucket string
	// Versions lists versions and delete markers.
	Versions bool
	// Parameters are the client's, by S3's names: prefix, delimiter, max-keys,
	// start-after, continuation-token, key-marker, version-id-marker.
	Parameters map[string]string
	// Metadata asks for each object's metadata, Owner for its owner.
	Metadata, Owner bool
}

// Page is one page of a listing. Names are URL-encoded as in an S3 answer with
// encoding-type=url, whatever bytes they have.
type Page struct {
	MaxKeys   string
	KeyCount  string
	Truncated bool
	// NextToken continues a listing of objects; NextKeyMarker and NextVersionMarker
	// continue one of versions.
	NextToken, NextKeyMarker, NextVersionMarker string
	Entries                                     []Entry
	Prefixes                                    []string
}

// Entry is one object, version or delete marker of a page.
type Entry struct {
	Key, LastModified, ETag, StorageClass string
	Size                                  int64
	OwnerID, OwnerName                    string
	// VersionID and IsLatest are set in lists of versions; DeleteMarker says
	// that the entry is one.
	VersionID, IsLatest string
	DeleteMarker        bool
	// Metadata is what the object's metadata are; HasMetadata is false where the
	// actor may not read them.
	Metadata    []MetaEntry
	HasMetadata bool
	UserTags    string
	// Internal is MinIO's word on its own erasure code, as K and M.
	InternalK, InternalM string
}

// Encryption is how an upload is encrypted, for the storage's policies: clients say it
// once, when they create it, and every part is judged by it.
type Encryption struct {
	Mode   sse.Mode
	KMSKey string // of SSE-KMS
}

// CreateUpload asks for an upload in parts.
type CreateUpload struct {
	Name   sse.Name
	Meta   Metadata
	Record string
	Conditions
}

// Upload names an upload.
type Upload struct {
	Name sse.Name
	ID   string
	// As is how the upload is encrypted; nil leaves what the actor's request says.
	As *Encryption
}

// PutPart asks for a part to be stored.
type PutPart struct {
	Upload
	Number int // 1 to 10,000
	Meta   Metadata
	Body
}

// Complete asks for parts to be put together, in ascending order.
type Complete struct {
	Upload
	Parts []CompletePart
	Conditions
}

// CompletePart is a part of the finished object.
type CompletePart struct {
	Number int
	ETag   string
	// Checksum is a checksum in base64 that the storage is to compare, of the algorithm
	// that S3 names "CRC32C"; both are "" for none.
	Algorithm, Checksum string
}

// ListParts asks for a page of an upload's parts.
type ListParts struct {
	Upload
	// Parameters are the client's: max-parts, part-number-marker.
	Parameters map[string]string
}

// PartPage is one page of an upload's parts.
type PartPage struct {
	Parts []struct {
		PartNumber   int
		ETag         string
		LastModified string
		Size         int64
	} `xml:"Part"`
	IsTruncated  bool
	StorageClass string
	MaxParts     string
	Owner        Owner
	Initiator    Owner
}

// Owner is somebody whom the storage names.
type Owner struct{ ID, DisplayName string }

// ObjectPart is a part of a stored object.
type ObjectPart struct {
	Number int
	Size   int64
	// Checksums are in base64 by their algorithm's names ("CRC32C").
	Checksums map[string]string
}

// Right is what May asks about.
type Right int

// Rights.
const (
	// WriteObject is to store the object as Meta says.
	WriteObject Right = iota
	// SendPart, CompleteUpload, AbortUpload and ReadUpload are what a caller does with an
	// upload, encrypted As.
	SendPart
	CompleteUpload
	AbortUpload
	ReadUpload
	// ListUploads is to list the uploads of a bucket below a prefix, which is Name.Key.
	ListUploads
	// ReadRule, WriteRule and RemoveRule are what a caller does with a bucket's encryption
	// rule, of which the storage itself has none. ErrEncrypts if it has.
	ReadRule
	WriteRule
	RemoveRule
)

// Question is what May asks.
type Question struct {
	Right Right
	Name  sse.Name
	Meta  Metadata
	As    *Encryption
}
