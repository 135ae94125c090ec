package storage_test

import (
	"errors"
	"maps"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/storage"
)

func TestBehindIsAnotherPlace(t *testing.T) {
	t.Parallel()
	at := storage.Marker{Key: "a b", Version: "1"}
	for what, c := range map[string]struct {
		page storage.Page
		next storage.Marker
		bad  bool
	}{
		"the last page":             {page: storage.Page{NextKeyMarker: "x"}},
		"another key":               {page: storage.Page{Truncated: true, NextKeyMarker: "b%2Fc"}, next: storage.Marker{Key: "b/c"}},
		"another version of it":     {page: storage.Page{Truncated: true, NextKeyMarker: "a+b", NextVersionMarker: "2"}, next: storage.Marker{Key: "a b", Version: "2"}},
		"the same place":            {page: storage.Page{Truncated: true, NextKeyMarker: "a+b", NextVersionMarker: "1"}, bad: true},
		"no place":                  {page: storage.Page{Truncated: true}, bad: true},
		"a place that is malformed": {page: storage.Page{Truncated: true, NextKeyMarker: "%zz"}, bad: true},
	} {
		next, more, err := c.page.Behind(at)
		if next != c.next || more != (c.next != storage.Marker{}) || errors.Is(err, storage.ErrListing) != c.bad {
			t.Errorf("%s: %+v, %t, %v", what, next, more, err)
		}
	}
}

func TestMarkerIsAParameter(t *testing.T) {
	t.Parallel()
	for marker, want := range map[storage.Marker]map[string]string{
		{}:                       {},
		{Key: "k"}:               {"key-marker": "k"},
		{Key: "k", Version: "v"}: {"key-marker": "k", "version-id-marker": "v"},
	} {
		got := map[string]string{}
		if marker.Set(got); !maps.Equal(got, want) {
			t.Errorf("%+v: %v", marker, got)
		}
	}
}
