package checker

import (
	"encoding/json"
	"strings"

	"github.com/bucketseal/bucketseal/chaos/history"
)

// Storage is what the storage of a run was like.
type Storage struct {
	Several bool // MinIOs, and not one
	Killed  bool // a MinIO was, while clients wrote
}

// SetApart parts violations of which MinIO alone is known to be the cause (docs/reliability.md) from
// all others. A listing lacks a key that is being overwritten. If the storage has several nodes, an
// object cannot be read, or is damaged, where a part of an upload to its key had been sent twice. If
// MinIO was killed, reads show now a write of unknown outcome, and now what was there before it; they
// are in order otherwise. Wrong bytes are never set apart.
func SetApart(h *history.History, all []Violation, storage Storage) (others, apart []Violation) {
	resent := map[name]bool{}
	for _, o := range h.Ops() {
		if o.Kind == history.Complete && o.Resent {
			resent[name{o.Bucket, o.Key}] = true
		}
	}
	others = []Violation{}
	for _, v := range all {
		n, ok := damaged(v)
		if ok && resent[n] && storage.Several || v.Kind == "listing-lacks" && v.Overwritten ||
			v.Kind == "order" && v.Unanswered && storage.Killed {
			apart = append(apart, v)
		} else {
			others = append(others, v)
		}
	}
	return others, apart
}

// damaged names the object of which a violation says that it cannot be read: by clients, or in the
// line of JSON of a command that is not a server.
func damaged(v Violation) (name, bool) {
	if v.Kind == "unreadable" {
		return name{v.Bucket, v.Key}, true
	}
	at := strings.IndexByte(v.Detail, '{')
	if (v.Kind != "verify" && v.Kind != "offline") || at < 0 {
		return name{}, false
	}
	var line struct{ Bucket, Key, Error string }
	if json.Unmarshal([]byte(v.Detail[at:]), &line) != nil || !strings.Contains(line.Error, "not authentic") {
		return name{}, false
	}
	return name{line.Bucket, line.Key}, true
}
