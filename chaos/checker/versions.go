package checker

import (
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/chaos/history"
)

type versionID struct {
	name
	id string
}

// version is what is known of one version of a key.
type version struct {
	write   *history.Op   // who made it, where that is known
	shows   history.Write // what it showed first
	first   *history.Op
	ended   time.Duration // when a delete of it was acknowledged, or Forever
	ending  time.Duration // when the first delete of it began, or Forever
	ender   *history.Op
	visible time.Duration // from when on everybody must see it, or Forever
}

// versions holds that a version shows the same bytes from its acknowledgement until its end.
func (l *ledger) versions() []Violation {
	all := map[versionID]*version{}
	var out []Violation
	for i := range l.ops {
		o := &l.ops[i]
		if v := l.see(all, o); v != nil {
			out = append(out, *v)
		}
	}
	for i := range l.ops {
		o := &l.ops[i]
		switch o.Kind {
		case history.GetVersion:
			if v := all[versionID{name{o.Bucket, o.Key}, o.Version}]; v != nil {
				out = append(out, v.read(o)...)
			}
		case history.ListVersions:
			if o.Outcome == history.OK {
				out = append(out, versionPage(all, o)...)
			}
		}
	}
	return out
}

// see notes what an operation tells of a version, and returns a violation where versions changed.
func (l *ledger) see(all map[versionID]*version, o *history.Op) *Violation {
	id := versionID{name{o.Bucket, o.Key}, o.Version}
	if o.Saw != nil && o.Saw.Version != "" {
		id.id = o.Saw.Version
	}
	if id.id == "" || id.id == "null" {
		return nil
	}
	v := all[id]
	if v == nil {
		v = &version{ended: history.Forever, ending: history.Forever, visible: history.Forever}
		all[id] = v
	}
	if o.Kind == history.DeleteVersion {
		if o.Outcome != history.Failed {
			v.ending = min(v.ending, o.Start)
		}
		if o.Outcome == history.OK && o.End < v.ended {
			v.ended, v.ender = o.End, o
		}
		return nil
	}
	if o.Outcome != history.OK || o.Saw == nil || (o.Saw.Write == history.Absent && !o.Writes()) {
		return nil
	}
	if v.first != nil && v.shows != o.Saw.Write {
		f := violation("version-changed", id.name, []*history.Op{v.first, o}, "version %s was write %d, and is %d", id.id, v.shows, o.Saw.Write)
		return &f
	}
	if v.first == nil {
		v.first, v.shows = o, o.Saw.Write
	}
	v.visible = min(v.visible, o.End)
	if o.Writes() {
		v.write = o
	}
	return nil
}

func (v *version) read(o *history.Op) []Violation {
	n := name{o.Bucket, o.Key}
	there := o.Outcome == history.OK && o.Saw != nil && o.Saw.Write != history.Absent
	gone := o.Outcome == history.OK && o.Saw != nil && o.Saw.Write == history.Absent
	switch {
	case there && v.ended < o.Start:
		return []Violation{violation("version-returns", n, []*history.Op{o, v.ender}, "%v, though %v", o, v.ender)}
	case gone && v.visible < o.Start && v.ending > o.End:
		return []Violation{violation("version-lost", n, []*history.Op{o, v.first}, "%v: version %s was seen by %v", o, o.Version, v.first)}
	}
	return nil
}

func versionPage(all map[versionID]*version, o *history.Op) []Violation {
	shown := map[versionID]bool{}
	for _, e := range o.Listed {
		shown[versionID{name{o.Bucket, e.Key}, e.Version}] = true
	}
	var out []Violation
	for id, v := range all {
		// The page may end in the middle of a key's versions, so its last key is left out.
		if id.bucket != o.Bucket || !strings.HasPrefix(id.key, o.Prefix) || (o.Last != "" && id.key >= o.Last) || id.key <= o.After {
			continue
		}
		switch {
		case shown[id] && v.ended < o.Listing():
			out = append(out, violation("listing-stale", id.name, []*history.Op{o, v.ender}, "%v lists version %s, though %v", o, id.id, v.ender))
		case !shown[id] && v.visible < o.Listing() && v.ending > o.End:
			out = append(out, violation("listing-lacks", id.name, []*history.Op{o, v.first}, "%v lacks version %s, seen by %v", o, id.id, v.first))
		}
	}
	return out
}
