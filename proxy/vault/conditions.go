package vault

import (
	"strings"
	"time"
)

// ReadConditions are the conditions of a read. Zero values are none.
type ReadConditions struct {
	// IfMatch and IfNoneMatch are lists of ETags, or "*".
	IfMatch, IfNoneMatch               string
	IfModifiedSince, IfUnmodifiedSince time.Time
	// IfRange ties a range to an ETag, or IfRangeSince to a time.
	IfRange      string
	IfRangeSince time.Time
}

// check judges the conditions on what the client knows of the object (RFC 9110, section
// 13.2.2). *ConditionError.
func (c *ReadConditions) check(etag string, modified time.Time) error {
	if err := c.judge(etag, modified.Truncate(time.Second)); err != nil {
		return &ConditionError{err, etag, modified}
	}
	return nil
}

func (c *ReadConditions) judge(etag string, modified time.Time) error {
	switch {
	case c.IfMatch != "":
		if !etagListed(c.IfMatch, etag) {
			return ErrPrecondition
		}
	case !c.IfUnmodifiedSince.IsZero() && modified.After(c.IfUnmodifiedSince):
		return ErrPrecondition
	}
	switch {
	case c.IfNoneMatch != "":
		if etagListed(c.IfNoneMatch, etag) {
			return ErrNotModified
		}
	case !c.IfModifiedSince.IsZero() && !modified.After(c.IfModifiedSince):
		return ErrNotModified
	}
	return nil
}

// rangeStillValid says whether a range holds: If-Range may tie it to a version of the
// object.
func (c *ReadConditions) rangeStillValid(etag string, modified time.Time) bool {
	switch {
	case !c.IfRangeSince.IsZero():
		return modified.Truncate(time.Second).Equal(c.IfRangeSince)
	case c.IfRange == "":
		return true
	default:
		return strings.Trim(c.IfRange, `"`) == strings.Trim(etag, `"`) // a strong comparison
	}
}

// etagListed says whether a list of ETags, or *, names etag.
func etagListed(list, etag string) bool {
	for item := range strings.SplitSeq(list, ",") {
		item = strings.TrimSpace(item)
		if item == "*" || strings.Trim(strings.TrimPrefix(item, "W/"), `"`) == strings.Trim(etag, `"`) {
			return true
		}
	}
	return false
}
