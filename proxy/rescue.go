package proxy

import (
	"errors"
	"net/http"
	"strings"

	"github.com/bucketseal/bucketseal/sse"
)

// doesNotFit says whether an error of reading an object may be that of a manifest that
// is another's.
func doesNotFit(err error) bool {
	return errors.Is(err, sse.ErrTampered) || errors.Is(err, sse.ErrTruncated) || errors.Is(err, errUpstreamLied)
}

// unprovenHeader tells clients of an object whose manifest was made by Rescue.
const unprovenHeader = "X-Bucketseal-Manifest"

// tellUnproven makes it visible that nobody vouches for an object's parts, or that
// they are a copy's.
func (s *Server) tellUnproven(h http.Header, o *object) {
	if o.facts.Unproven {
		h.Set(unprovenHeader, "unproven")
		s.log.Warn("an object is read by a manifest that was made by `object rescue`: its parts are authentic, their choice is not",
			"bucket", o.name.Bucket, "key", o.name.Key, "etag", strings.Trim(o.etag(), `"`))
	} else if o.restored {
		h.Set(unprovenHeader, "restored")
	}
}
