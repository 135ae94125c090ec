package kms

import (
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"
)

func TestContextIsParsedStrictly(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Context{
		`{}`:                              {},
		" \t\r\n{ \n} ":                   {},
		`{"a":"b"}`:                       {"a": "b"},
		` { "a" : "b" , "c" : "" } `:      {"a": "b", "c": ""},
		`{"":""}`:                         {"": ""},
		`{"a":"\"\\\/\b\f\n\r\t"}`:        {"a": "\"\\/\b\f\n\r\t"},
		`{"\u0061":"\u00e9\uD83D\uDD11"}`: {"a": "é🔑"},
		`{"a":"\ufffd"}`:                  {"a": "\ufffd"},
		`{"a":"1","A":"2"}`:               {"a": "1", "A": "2"},
		`{"bucketseal:use":"sse-s3"}`:     {"bucketseal:use": "sse-s3"},
	} {
		if got, err := ParseContext([]byte(text)); err != nil || !maps.Equal(got, want) {
			t.Errorf("ParseContext(%s) = %q, %v; want %q", text, got, err, want)
		}
	}
	for _, text := range []string{
		``, ` `, `null`, `""`, `[]`, `{`, `}`, `{]`, `{"a"}`, `{"a":}`, `{"a":"b"`, `{"a":"b",}`, `{,}`, `{"a":"b" "c":"d"}`, `{a:"b"}`,
		`{"a":1}`, `{"a":null}`, `{"a":true}`, `{"a":{}}`, `{"a":["b"]}`, `{1:"a"}`, `{'a':'b'}`,
		`{}{}`, `{"a":"b"}x`, `{"a":"b"} {}`, "\ufeff{}", `/**/{}`,
		`{"a":"b","a":"b"}`, `{"a":"b","\u0061":"c"}`,
		"{\"a\":\"\xff\"}", "{\"\xc0\x80\":\"\"}", `{"a":"\ud83d"}`, `{"a":"\ud83dx"}`, `{"a":"\ud83d\n"}`, `{"a":"\ud83d\u0061"}`, `{"a":"\udd11\ud83d"}`, `{"a":"\ud83d\uxxxx"}`,
		"{\"a\":\"\n\"}", "{\"a\":\"\x00\"}", `{"a":"\x"}`, `{"a":"\u12"}`, `{"a":"\u12g4"}`, `{"a":"\`, `{"a":"\u`, `{"a":"`,
		`{"a":"` + strings.Repeat("x", MaxContextSize) + `"}`,
	} {
		if got, err := ParseContext([]byte(text)); !errors.Is(err, ErrInvalidContext) {
			t.Errorf("ParseContext(%.60q) = %q, %v; want ErrInvalidContext", text, got, err)
		}
	}
}

func TestContextErrorsQuoteNoValue(t *testing.T) {
	t.Parallel()
	_, err := ParseContext([]byte(`{"name":"hunter2","name":"hunter2"}`))
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error: %v", err)
	}
}

func TestEmptyContextIsAnObject(t *testing.T) {
	t.Parallel()
	if got := Context(nil).Canonical(); string(got) != "{}" {
		t.Errorf("Canonical(nil) = %s", got)
	}
}

func TestInvalidUTF8IsReplacedInCanonicalContext(t *testing.T) {
	t.Parallel()
	if got := (Context{"k\xff": "\xc3\x28"}).Canonical(); string(got) != `{"k\ufffd":"\ufffd("}` {
		t.Errorf("Canonical = %s", got)
	}
}

func TestReservedNamesAreRefusedFromClients(t *testing.T) {
	t.Parallel()
	for text, reserved := range map[string]bool{
		`{"bucketseal:use":"x"}`:              true,
		`{"bucketseal:":""}`:                  true,
		`{"BucketSeal:Use":"x"}`:              true,
		`{"BUCKETSEAL:":"x"}`:                 true,
		`{"buc\u212aetseal:x":"Kelvin sign"}`: true,
		`{"bucket\u017feal:x":"long s"}`:      true,
		`{"a":"b","\u0062ucketseal:use":"x"}`: true,
		`{"bucketseal":"x"}`:                  false,
		`{"bucketseal-use":"x"}`:              false,
		`{" bucketseal:use":"x"}`:             false,
		`{"a":"bucketseal:use"}`:              false,
		`{"xbucketseal:use":"x"}`:             false,
		`{}`:                                  false,
	} {
		_, err := ParseClientContext([]byte(text))
		if errors.Is(err, ErrInvalidContext) != reserved {
			t.Errorf("ParseClientContext(%s): %v, reserved: %t", text, err, reserved)
		}
		c, err := ParseContext([]byte(text))
		if err != nil || c.HasReserved() != reserved {
			t.Errorf("ParseContext(%s) = %q, %v; HasReserved should be %t", text, c, err, reserved)
		}
		if ContainsReserved([]byte(text)) != reserved || ContainsReserved(c.Canonical()) != reserved {
			t.Errorf("ContainsReserved(%s) should be %t", text, reserved)
		}
	}
	if _, err := ParseClientContext([]byte(`{"a":1}`)); !errors.Is(err, ErrInvalidContext) {
		t.Errorf("ParseClientContext of no strings: %v", err)
	}
}

func TestReservedNamesAreFoundInWhatIsNoProperContext(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		`{"bucketseal:a":1}`:                      true,
		`{"a":[1,{"b":2}],"bucketseal:a":null}`:   true,
		`{"bucketseal:a":"x","bucketseal:a":"y"}`: true,
		`{"bucketseal:a":"x"} and more`:           true,
		`{"bucketseal:a":"x"`:                     true,
		`{"bucketseal:a"`:                         true,
		"\ufeff{\"bucketseal:a\":\"x\"}":          true,
		" \n{\"bucketseal:a\":\"\xff\"}":          true,
		`{"a":"\u0062","\u0042ucketseal:a":"x"}`:  true,
		`{"a":"bucketseal:a"}`:                    false,
		`{"a":{"bucketseal:a":"x"}}`:              false,
		`["bucketseal:a"]`:                        false,
		`"bucketseal:a"`:                          false,
		`bucketseal:a`:                            false,
		``:                                        false,
		`{}`:                                      false,
		`{"a\\":"b"}`:                             false,
		`{"a":"b","c":,"bucketseal:a":"broken before"}`: false,
		"\x00\x01\x02": false,
	} {
		if got := ContainsReserved([]byte(text)); got != want {
			t.Errorf("ContainsReserved(%s) = %t, want %t", text, got, want)
		}
	}
}

// FuzzContext holds the parser to encoding/json: what it takes, encoding/json
// understands the same way, and the canonical form is a fixed point.
func FuzzContext(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"a":"b"}`, `{"a":"\ud83d\udd11","b":"\u003c"}`, `{"bucketseal:use":"x"}`, "{\"a\":\"\xff\"}", `{"a":"b","a":"c"}`, `{"a":1}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		reserved := ContainsReserved(text)
		c, err := ParseContext(text)
		if err != nil {
			if !errors.Is(err, ErrInvalidContext) {
				t.Fatalf("error without sentinel: %v", err)
			}
			return
		}
		var want map[string]string
		if err := json.Unmarshal(text, &want); err != nil || !maps.Equal(c, want) {
			t.Fatalf("ParseContext(%q) = %q; encoding/json: %q, %v", text, c, want, err)
		}
		if c.HasReserved() != reserved {
			t.Fatalf("HasReserved(%q) = %t, ContainsReserved = %t", text, c.HasReserved(), reserved)
		}
		canonical := c.Canonical()
		if !json.Valid(canonical) {
			t.Fatalf("Canonical(%q) = %q is no JSON", text, canonical)
		}
		if len(canonical) > MaxContextSize { // escapes may make it longer than its source
			return
		}
		again, err := ParseContext(canonical)
		if err != nil || !maps.Equal(again, c) {
			t.Fatalf("ParseContext(%q) = %q, %v; want %q", canonical, again, err, c)
		}
	})
}
