// Package conditions judges what a request says must hold of an object (RFC 9110, section
// 13), on the ETag and the date that clients know of it.
package conditions

import (
	"errors"
	"strings"
	"time"
)

// Sentinels. What a client sees of them is s3api's affair.
var (
	ErrPrecondition = errors.New("precondition failed")
	ErrNotModified  = errors.New("not modified")
	ErrNoSuchKey    = errors.New("object does not exist")
)

// Error is ErrPrecondition or ErrNotModified of a read, with what would hold.
type Error struct {
	Err      error
	ETag     string
	Modified time.Time
}

// Error is the condition's.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the condition.
func (e *Error) Unwrap() error { return e.Err }

// Read are the conditions of a read. Zero values are none.
type Read struct {
	// IfMatch and IfNoneMatch are lists of ETags, or "*".
	IfMatch, IfNoneMatch               string
	IfModifiedSince, IfUnmodifiedSince time.Time
	// IfRange ties a range to an ETag, or IfRangeSince to a time.
	IfRange      string
	IfRangeSince time.Time
}

// Check judges the conditions on what the client knows of the object (RFC 9110, section
// 13.2.2). *Error.
func (c *Read) Check(etag string, modified time.Time) error {
	if err := c.judge(etag, modified.Truncate(time.Second)); err != nil {
		return &Error{err, etag, modified}
	}
	return nil
}

// CheckSource is Check for the source of a copy, whose conditions fail as ErrPrecondition
// also where a read were not modified.
func (c *Read) CheckSource(etag string, modified time.Time) error {
	if c.judge(etag, modified.Truncate(time.Second)) != nil {
		return &Error{ErrPrecondition, etag, modified}
	}
	return nil
}

func (c *Read) judge(etag string, modified time.Time) error {
	switch {
	case c.IfMatch != "":
		if !listed(c.IfMatch, etag) {
			return ErrPrecondition
		}
	case !c.IfUnmodifiedSince.IsZero() && modified.After(c.IfUnmodifiedSince):
		return ErrPrecondition
	}
	switch {
	case c.IfNoneMatch != "":
		if listed(c.IfNoneMatch, etag) {
			return ErrNotModified
		}
	case !c.IfModifiedSince.IsZero() && !modified.After(c.IfModifiedSince):
		return ErrNotModified
	}
	return nil
}

// RangeHolds says whether a range holds: If-Range may tie it to a version of the
// object.
func (c *Read) RangeHolds(etag string, modified time.Time) bool {
	switch {
	case !c.IfRangeSince.IsZero():
		return modified.Truncate(time.Second).Equal(c.IfRangeSince)
	case c.IfRange == "":
		return true
	default:
		return strings.Trim(c.IfRange, `"`) == strings.Trim(etag, `"`) // a strong comparison
	}
}

// Write are a write's If-Match and If-None-Match: lists of ETags, or "*".
type Write struct{ IfMatch, IfNoneMatch string }

// None says that there are none.
func (c Write) None() bool { return c.IfMatch == "" && c.IfNoneMatch == "" }

// Existence says that they ask at most whether there is an object, which upstream can
// judge.
func (c Write) Existence() bool {
	return (c.IfMatch == "" || c.IfMatch == "*") && (c.IfNoneMatch == "" || c.IfNoneMatch == "*")
}

// Check judges the conditions on the ETag that the client knows of the object that is
// there, "" for none. ErrNoSuchKey, ErrPrecondition.
func (c Write) Check(etag string) error {
	switch {
	case etag == "" && c.IfMatch != "":
		return ErrNoSuchKey
	case etag == "":
		return nil
	case c.IfMatch != "" && !listed(c.IfMatch, etag), c.IfNoneMatch != "" && listed(c.IfNoneMatch, etag):
		return ErrPrecondition
	}
	return nil
}

// listed says whether a list of ETags, or *, names etag.
func listed(list, etag string) bool {
	for item := range strings.SplitSeq(list, ",") {
		item = strings.TrimSpace(item)
		if item == "*" || strings.Trim(strings.TrimPrefix(item, "W/"), `"`) == strings.Trim(etag, `"`) {
			return true
		}
	}
	return false
}
