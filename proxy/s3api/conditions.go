package s3api

import (
	"net/http"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/proxy/conditions"
)

// readConditionsOf returns the conditions of a read. What should be a date and is none is
// no condition, but for If-Range, which is an ETag then.
func readConditionsOf(h http.Header) conditions.Read {
	c := conditions.Read{
		IfMatch: list(h, "If-Match"), IfNoneMatch: list(h, "If-None-Match"),
		IfModifiedSince: dateOf(h, "If-Modified-Since"), IfUnmodifiedSince: dateOf(h, "If-Unmodified-Since"),
		IfRangeSince: dateOf(h, "If-Range"),
	}
	if c.IfRangeSince.IsZero() {
		c.IfRange = h.Get("If-Range")
	}
	return c
}

// dateOf returns the date in a header, zero for none.
func dateOf(h http.Header, name string) time.Time {
	text := h.Get(name)
	if text == "" {
		return time.Time{}
	}
	t, _ := http.ParseTime(text)
	return t
}

// list joins a header that was sent in several lines.
func list(h http.Header, name string) string { return strings.Join(h.Values(name), ",") }
