package maintenance

import (
	"context"
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
	// Mode and KMSKey are how the object is encrypted now, as clients are told.
	Mode   sse.Mode
	KMSKey string
	// Meta is the object's metadata, and Tags its tags as a query, if Listed: the storage
	// does not list those of which a name has no place in XML.
	Meta   []storage.MetaEntry
	Tags   string
	Listed bool
}

// Selects says that a re-wrap does not do all of a bucket.
func (o *Rewrap) Selects() bool { return o.Only != nil || o.Prefix != "" }

// wants says whether a re-wrap is about a version. One whose record cannot be read has no mode
// and no key; sealed is nil for what has none. The error is that of Only, or says why it cannot be
// told how the object is encrypted.
func (r *rewrap) wants(ctx context.Context, s *scanned, sealed *sealedOnce) (bool, error) {
	if !strings.HasPrefix(s.Name.Key, r.o.Prefix) {
		return false, nil
	}
	if r.o.Only == nil {
		return true, nil
	}
	c := &Candidate{Name: s.Name, Version: s.ID, Modified: s.Modified, Meta: s.Meta, Tags: s.Tags, Listed: s.Listed}
	switch {
	case sealed != nil:
		as, _, err := r.keeper.asItIs(ctx, sealed)
		if err != nil {
			return false, err
		}
		c.Mode, c.KMSKey = as.Mode, as.KMSKey
	case s.record != nil:
		c.Mode = s.record.Mode
	}
	return r.o.Only(ctx, c)
}
