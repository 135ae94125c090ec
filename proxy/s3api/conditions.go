package s3api

import (
	"net/http"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/proxy/vault"
)

// readConditionsOf returns the conditions of a read. What should be a date and is none is
// no condition, but for If-Range, which is an ETag then.
func readConditionsOf(h http.Header) vault.ReadConditions {
	c := vault.ReadConditions{
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

// checkRead judges the conditions of a GET or HEAD on what the client knows of
// the object (RFC 9110, section 13.2.2). errPrecondition, errNotModified.
func checkRead(h http.Header, etag string, modified time.Time) error {
	modified = modified.Truncate(time.Second)
	ifMatch, ifNoneMatch := list(h, "If-Match"), list(h, "If-None-Match")
	switch {
	case ifMatch != "":
		if !etagListed(ifMatch, etag) {
			return errPrecondition
		}
	case h.Get("If-Unmodified-Since") != "":
		if t, err := http.ParseTime(h.Get("If-Unmodified-Since")); err == nil && modified.After(t) {
			return errPrecondition
		}
	}
	switch {
	case ifNoneMatch != "":
		if etagListed(ifNoneMatch, etag) {
			return errNotModified
		}
	case h.Get("If-Modified-Since") != "":
		if t, err := http.ParseTime(h.Get("If-Modified-Since")); err == nil && !modified.After(t) {
			return errNotModified
		}
	}
	return nil
}

// readConditions judges the conditions of h; an answer that says they do not
// hold says what would.
func readConditions(w http.ResponseWriter, h http.Header, etag string, modified time.Time) error {
	err := checkRead(h, etag, modified)
	if err != nil {
		w.Header().Set("ETag", etag)
		w.Header().Set("Last-Modified", modified.UTC().Format(http.TimeFormat))
	}
	return err
}

// list joins a header that was sent in several lines.
func list(h http.Header, name string) string { return strings.Join(h.Values(name), ",") }

// etagListed says whether a header's list of ETags, or *, names etag.
func etagListed(list, etag string) bool {
	for item := range strings.SplitSeq(list, ",") {
		item = strings.TrimSpace(item)
		if item == "*" || strings.Trim(strings.TrimPrefix(item, "W/"), `"`) == strings.Trim(etag, `"`) {
			return true
		}
	}
	return false
}
