package memory

import (
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/proxy/storage"
)

// nullVersion is the id of what is stored without versions.
const nullVersion = "null"

// version is one version of an object. It is never changed, but replaced.
type version struct {
	id       string
	marker   bool // of a deletion
	hidden   bool // by Hide
	etag     string
	data     []byte
	modified time.Time
	parts    []storage.ObjectPart // that it was put together from, nil for none
	attributes
}

// attributes are what is stored with an object.
type attributes struct {
	meta     storage.Metadata
	reserved []storage.MetaEntry // the record, and what has a name like it
	tags     url.Values
	sums     checksums
}

const (
	metaPrefix = "X-Amz-Meta-"
	// maxMetadata is how long names and values of user metadata may be together, in
	// bytes; the record does not count.
	maxMetadata = 2048
	// maxRecord is how long one entry may be that does not count, in bytes.
	maxRecord = 32700
	// maxTags is how many tags an object may have.
	maxTags = 10
)

// storedHeaders are kept with an object besides its user metadata.
var storedHeaders = []string{
	"Content-Type", "Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language", "Expires", "X-Amz-Storage-Class",
	"X-Amz-Object-Lock-Mode", "X-Amz-Object-Lock-Retain-Until-Date", "X-Amz-Object-Lock-Legal-Hold",
}

// newAttributes takes from a write's metadata what is stored. uncounted is what does not
// count against the limit of user metadata.
func newAttributes(meta, uncounted storage.Metadata) (attributes, error) {
	a := attributes{meta: storage.Metadata{"Content-Type": {"binary/octet-stream"}}}
	size := 0
	for name, values := range meta {
		value := strings.TrimSpace(strings.Join(values, ","))
		switch {
		case strings.HasPrefix(name, metaPrefix):
			size += len(name) + len(value)
			a.keep(name, value)
		case name == "X-Amz-Storage-Class" && value == "STANDARD": // which is not said
		case name == "X-Amz-Storage-Class" && value != "REDUCED_REDUNDANCY":
			return attributes{}, fail(400, "InvalidStorageClass", "Invalid storage class.")
		case slices.Contains(storedHeaders, name) && value != "":
			a.meta.Set(name, value)
		case name == "X-Amz-Tagging":
			var err error
			if a.tags, err = parseTags(value); err != nil {
				return attributes{}, err
			}
		}
	}
	if size > maxMetadata {
		return attributes{}, fail(400, "MetadataTooLarge", "Your metadata headers exceed the maximum allowed metadata size.")
	}
	for name, values := range uncounted {
		if len(values[0]) > maxRecord {
			return attributes{}, fail(400, "XMinioInvalidResourceName", "Resource name contains bad components such as \"..\" or \".\".")
		}
		a.keep(name, values[0])
	}
	return a, nil
}

func (a *attributes) keep(name, value string) {
	if storage.IsReserved(name) {
		a.reserved = append(a.reserved, storage.MetaEntry{Name: name, Value: value})
		return
	}
	a.meta.Set(name, value)
}

func parseTags(value string) (url.Values, error) {
	tags, err := url.ParseQuery(value)
	twice := slices.ContainsFunc(slices.Collect(maps.Values(tags)), func(values []string) bool { return len(values) > 1 })
	if err != nil || twice || len(tags) > maxTags {
		return nil, fail(400, "InvalidTag", "the tags are not valid")
	}
	return tags, nil
}

// recordOf returns a record as metadata that does not count.
func recordOf(text string) storage.Metadata {
	if text == "" {
		return nil
	}
	return storage.Metadata{storage.RecordName: {text}}
}

// exists says whether there is an object: v may be nil.
func (v *version) exists() bool { return v != nil && !v.marker }

// judge holds conditions against what is there, which may be nothing.
func (v *version) judge(c storage.Conditions) error {
	switch {
	case c.IfMatch != "" && !v.exists():
		return fail(404, "NoSuchKey", "The specified key does not exist.")
	case c.IfMatch != "" && !v.matches(c.IfMatch), c.IfNoneMatch != "" && v.exists() && v.matches(c.IfNoneMatch):
		return v.failed()
	}
	return nil
}

// failed is the answer to a condition that the version does not meet.
func (v *version) failed() *storage.Error {
	err := fail(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
	err.Header.Set("Etag", v.quoted())
	err.Header.Set("Last-Modified", v.modified.Format(http.TimeFormat))
	return err
}

func (v *version) matches(etag string) bool { return etag == "*" || strings.Trim(etag, `"`) == v.etag }

func (v *version) quoted() string { return `"` + v.etag + `"` }

// find returns the object that a request names. storage.ErrNotFound.
func (b *bucket) find(key, id string) (*version, error) {
	all := b.versionsOf(key)
	if id == "" {
		if len(all) > 0 && all[0].exists() {
			return all[0], nil
		}
		err := fail(404, "NoSuchKey", "The specified key does not exist.")
		if len(all) > 0 {
			all[0].nameInError(err)
		}
		return nil, err
	}
	if err := checkVersion(id); err != nil {
		return nil, err
	}
	for _, v := range all {
		switch {
		case v.id != id:
		case v.marker:
			err := fail(405, "MethodNotAllowed", "The specified method is not allowed against this resource.")
			v.nameInError(err)
			return nil, err
		default:
			return v, nil
		}
	}
	return nil, fail(404, "NoSuchVersion", "The specified version does not exist.")
}

// checkVersion refuses what is no version's id.
func checkVersion(id string) error {
	if id != "" && id != nullVersion && len(id) != len("00000000-0000-0000-0000-000000000000") {
		return fail(400, "InvalidArgument", "Invalid version id specified")
	}
	return nil
}

// name says in an answer which version it is of.
func (v *version) name(h storage.Metadata) {
	if v.id != nullVersion {
		h.Set("X-Amz-Version-Id", v.id)
	}
	if v.marker {
		h.Set("X-Amz-Delete-Marker", "true")
	}
}

// nameInError says in a refusal which version it is of, the null version too.
func (v *version) nameInError(err *storage.Error) {
	v.name(err.Header)
	err.Header.Set("X-Amz-Version-Id", v.id)
}

// answered is the version's id as answers have it: nobody names what has no versions.
func (v *version) answered() string {
	if v.id == nullVersion {
		return ""
	}
	return v.id
}

// stored returns the answer to the write that made the version.
func (v *version) stored() *storage.Stored {
	meta := storage.Metadata{"Etag": {v.quoted()}}
	v.name(meta)
	v.sums.tell(meta)
	return &storage.Stored{ETag: v.quoted(), Version: v.answered(), Meta: meta, After: v.modified, Before: v.modified}
}

// info returns what a read says of the whole object.
func (v *version) info(g *storage.Get) storage.Info {
	meta := make(storage.Metadata, len(v.meta)+8)
	for name, values := range v.meta {
		meta.Set(name, mime.QEncoding.Encode("UTF-8", values[0])) // listings have it as it is
	}
	v.name(meta)
	meta.Set("Etag", v.quoted())
	meta.Set("Accept-Ranges", "bytes")
	meta.Set("Last-Modified", v.modified.Format(http.TimeFormat))
	meta.Set("Content-Length", strconv.Itoa(len(v.data)))
	if len(v.tags) > 0 {
		meta.Set("X-Amz-Tagging-Count", strconv.Itoa(len(v.tags)))
	}
	if g.Checksums && g.Range == nil {
		v.sums.tell(meta)
	}
	for name, values := range g.Answer {
		if header, ok := strings.CutPrefix(name, "response-"); ok && len(values) > 0 {
			meta.Set(http.CanonicalHeaderKey(header), values[0])
		}
	}
	return storage.Info{
		ETag: v.quoted(), Size: int64(len(v.data)), Modified: v.modified.Truncate(time.Second), Version: v.answered(),
		Meta: meta, Reserved: slices.Clone(v.reserved),
	}
}
