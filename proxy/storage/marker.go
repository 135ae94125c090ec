package storage

import (
	"fmt"
	"net/url"
)

// Marker is a place in a listing of versions: behind this version of a key, or behind all of the key for "". The
// zero value is the beginning.
type Marker struct {
	Key     string `json:"key,omitempty"`
	Version string `json:"version,omitempty"`
}

// Set has a listing with these parameters go on there.
func (m Marker) Set(parameters map[string]string) {
	if m.Key == "" {
		return
	}
	parameters["key-marker"] = m.Key
	if m.Version != "" {
		parameters["version-id-marker"] = m.Version
	}
}

// Behind returns the place behind a page of versions that began at from, and false behind the last one. ErrListing
// if the storage names none, or the same place again: whoever went on there would never end.
func (p *Page) Behind(from Marker) (next Marker, more bool, err error) {
	if !p.Truncated {
		return Marker{}, false, nil
	}
	next = Marker{Version: p.NextVersionMarker}
	if next.Key, err = url.QueryUnescape(p.NextKeyMarker); err != nil || next.Key == "" || next == from {
		return Marker{}, false, fmt.Errorf("it goes on at %q: %w", p.NextKeyMarker, ErrListing)
	}
	return next, true, nil
}
