package maintenance

import (
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// Candidate is a version of an object, as who chooses among them sees it.
type Candidate struct {
	Name sse.Name
	// Version is the version id.
	Version  string
	Modified time.Time
	// Mode is how the object is encrypted.
	Mode sse.Mode
	// KMSKey is the KMS key that its record names: what clients are told.
	KMSKey string
	// Meta is the object's metadata, and Tags its tags as a query, if Listed: the storage
	// does not list those of which a name has no place in XML.
	Meta   []storage.MetaEntry
	Tags   string
	Listed bool
}

// Selects says that a re-wrap does not do all of a bucket.
func (o *Rewrap) Selects() bool { return o.Only != nil || o.Prefix != "" }

// wants says whether a re-wrap is about a version. One whose record cannot be read has no
// mode and no key. The error is that of Only.
func (o *Rewrap) wants(s *scanned) (bool, error) {
	if !strings.HasPrefix(s.Name.Key, o.Prefix) {
		return false, nil
	}
	if o.Only == nil {
		return true, nil
	}
	c := &Candidate{Name: s.Name, Version: s.ID, Modified: s.Modified, Meta: s.Meta, Tags: s.Tags, Listed: s.Listed}
	if s.record != nil {
		c.Mode, c.KMSKey = s.record.Mode, s.record.KMSKey
	}
	return o.Only(c)
}
