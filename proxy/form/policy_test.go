package form

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func policy(t *testing.T, conditions string) *Policy {
	t.Helper()
	p, err := ParsePolicy(base64.StdEncoding.EncodeToString([]byte(`{"expiration":"2026-03-01T12:00:01.000Z","conditions":[{"bucket":"b"},` + conditions + `]}`)))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPolicyJudgesForms(t *testing.T) {
	t.Parallel()
	var uncovered *UncoveredError
	for name, c := range map[string]struct {
		conditions string
		fields     map[string]string
		ok         bool
	}{
		"equal":                         {`{"key":"a"},{"Bucket":"b"}`, map[string]string{"key": "a"}, true},
		"eq":                            {`["eq","$Key","a"]`, map[string]string{"key": "a"}, true},
		"eq in capitals":                {`["EQ","$key","a"]`, map[string]string{"key": "a"}, true},
		"not equal":                     {`["eq","$key","a"]`, map[string]string{"key": "A"}, false},
		"starts with":                   {`["starts-with","$key","user/"]`, map[string]string{"key": "user/x"}, true},
		"starts with any":               {`["starts-with","$key",""]`, map[string]string{"key": "x"}, true},
		"starts otherwise":              {`["starts-with","$key","user/"]`, map[string]string{"key": "users/x"}, false},
		"both must hold":                {`["starts-with","$key","a"],["eq","$key","b"]`, map[string]string{"key": "a"}, false},
		"missing field":                 {`["starts-with","$key",""],{"acl":"private"}`, map[string]string{"key": "x"}, false},
		"other bucket":                  {`{"key":"a"},{"bucket":"c"}`, map[string]string{"key": "a"}, false},
		"bucket is not the form's word": {`{"key":"a"},{"bucket":"c"}`, map[string]string{"key": "a", "bucket": "c"}, false},
		"uncovered":                     {`{"key":"a"}`, map[string]string{"key": "a", "acl": "public-read"}, false},
		"ignored":                       {`{"key":"a"}`, map[string]string{"key": "a", "x-ignore-a": "b", "policy": "p", "x-amz-signature": "s"}, true},
		"date is no signature":          {`{"key":"a"}`, map[string]string{"key": "a", "x-amz-date": "d"}, false},
	} {
		err := policy(t, c.conditions).Check(c.fields, "b", now)
		if c.ok != (err == nil) || err != nil && !errors.Is(err, ErrCondition) && !errors.As(err, &uncovered) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := policy(t, `{"key":"a"}`).Check(map[string]string{"key": "a"}, "b", now.Add(time.Second)); !errors.Is(err, ErrExpired) {
		t.Errorf("at its end: %v", err)
	}
}

func TestPolicyMustNameItsBucket(t *testing.T) {
	t.Parallel()
	p, err := ParsePolicy(base64.StdEncoding.EncodeToString([]byte(`{"expiration":"2026-03-01T12:00:01Z","conditions":[{"key":"a"}]}`)))
	if err != nil {
		t.Fatal(err)
	}
	var uncovered *UncoveredError
	if err := p.Check(map[string]string{"key": "a"}, "b", now); !errors.As(err, &uncovered) || uncovered.Field != "bucket" {
		t.Errorf("good for every bucket: %v", err)
	}
}

func TestPolicyLimitsTheFilesSize(t *testing.T) {
	t.Parallel()
	for _, conditions := range []string{`["content-length-range",10,20]`, `["content-length-range","10","20"]`, `["content-length-range",0,20],["content-length-range",10,30]`} {
		p := policy(t, conditions)
		for n, want := range map[int64]error{9: ErrTooSmall, 10: nil, 20: nil, 21: ErrTooBig} {
			if err := p.CheckSize(n); !errors.Is(err, want) {
				t.Errorf("%s: %d bytes: %v", conditions, n, err)
			}
		}
	}
	if err := policy(t, `{"key":"a"}`).CheckSize(1 << 50); err != nil {
		t.Errorf("without a range: %v", err)
	}
}

func TestPoliciesThatAreNone(t *testing.T) {
	t.Parallel()
	const expiration = `"expiration":"2026-03-01T12:00:01Z"`
	for _, text := range []string{
		"", "x", "null", "[]", "{}", `{"conditions":[]}`, `{"expiration":"tomorrow"}`, `{` + expiration + `,"more":1}`, `{` + expiration + `} x`,
		`{` + expiration + `,"conditions":{}}`, `{` + expiration + `,"conditions":["x"]}`, `{` + expiration + `,"conditions":[{}]}`,
		`{` + expiration + `,"conditions":[{"a":1}]}`, `{` + expiration + `,"conditions":[["eq","key","a"]]}`, `{` + expiration + `,"conditions":[["eq","$key"]]}`,
		`{` + expiration + `,"conditions":[["eq","$key",1]]}`, `{` + expiration + `,"conditions":[["ends-with","$key","a"]]}`,
		`{` + expiration + `,"conditions":[{"key":"a"}],"conditions":[]}`, `{` + expiration + `,"conditions":[{"key":"a"}],"Conditions":[]}`,
		`{` + expiration + `,"conditions":[{"key":"a","KEY":"b"}]}`, `{` + expiration + `,"conditions":[["eq","$key","a"],{"key":"a","key":"b"}]}`,
		`{` + expiration + `,"conditions":[["content-length-range",-1,5]]}`, `{` + expiration + `,"conditions":[["content-length-range",6,5]]}`,
		`{` + expiration + `,"conditions":[["content-length-range",1.5,5]]}`, `{` + expiration + `,"conditions":[["content-length-range","x",5]]}`,
	} {
		if p, err := ParsePolicy(base64.StdEncoding.EncodeToString([]byte(text))); !errors.Is(err, ErrPolicy) {
			t.Errorf("%s: %v, %v", text, p, err)
		}
	}
	if _, err := ParsePolicy("not base64!"); !errors.Is(err, ErrPolicy) {
		t.Errorf("not base64: %v", err)
	}
}

func FuzzPolicy(f *testing.F) {
	f.Add(`{"expiration":"2026-03-01T12:00:01Z","conditions":[{"key":"a"},["starts-with","$acl",""],["content-length-range",1,2]]}`)
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParsePolicy(base64.StdEncoding.EncodeToString([]byte(text)))
		if err != nil {
			return
		}
		// Nothing passes that the policy does not name.
		if !strings.Contains(strings.ToLower(text), "x-amz-meta") && !strings.Contains(text, `\`) && p.Check(map[string]string{"x-amz-meta-a": "b"}, "b", now) == nil {
			t.Fatalf("%q allows a field that it does not name", text)
		}
	})
}
