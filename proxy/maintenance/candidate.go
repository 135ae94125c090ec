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
	c := Candidate{Name: s.Name, Version: s.ID, Modified: s.Modified, Meta: s.Meta, Tags: s.Tags, Listed: s.Listed}
	if sealed != nil {
		sealed.candidate = &c
		return r.chosen(ctx, sealed)
	}
	if s.record != nil {
		c.Mode = s.record.Mode
	}
	return r.o.Only(ctx, &c)
}

// chosen asks Only about an object, as it is now. Where a wrap lies there that does not count, of
// an update that is on its way or was cut off, it must let that pass too: that is what the key is
// opened with. The error is that of wants.
func (r *rewrap) chosen(ctx context.Context, s *sealedOnce) (bool, error) {
	as, counts, err := r.keeper.asItIs(ctx, s)
	if err != nil {
		return false, err
	}
	c := *s.candidate
	c.Mode, c.KMSKey = as.Mode, as.KMSKey
	wanted, err := r.o.Only(ctx, &c)
	if !wanted || err != nil || counts || s.wrap == nil {
		return wanted, err
	}
	as = s.wrap.Encryption(s.record)
	c.Mode, c.KMSKey = as.Mode, as.KMSKey
	return r.o.Only(ctx, &c)
}
