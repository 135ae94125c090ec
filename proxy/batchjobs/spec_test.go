package batchjobs

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/sse"
)

const smallest = "keyrotate:\n  apiVersion: v1\n  bucket: b\n  encryption:\n    type: sse-s3\n"

func TestDefinitionsAreRead(t *testing.T) {
	t.Parallel()
	got, err := Parse([]byte(smallest))
	if want := (&Spec{Bucket: "b", Mode: sse.ModeS3, Attempts: 3, Delay: 250 * time.Millisecond}); err != nil || !reflect.DeepEqual(got, want) || !got.Filter.IsZero() {
		t.Errorf("%+v, %v", got, err)
	}
	// As `mc batch generate` writes it, filled in; replicate and expire are as MinIO describes
	// a job.
	got, err = Parse([]byte(`replicate: null
keyrotate:
  apiVersion: v1
  bucket: BUCKET
  prefix: p/
  encryption:
    type: sse-kms # valid values are sse-s3 and sse-kms
    key: arn:aws:kms:my-key
    context: e30=
  flags:
    filter:
      newerThan: "7d" # match
      olderThan: "1w2d10h31s"
      createdAfter: "2026-01-31T12:00:00Z"
      createdBefore: 2026-02-01
      tags:
        - key: "name"
          value: "pick*"
      metadata:
        - key: "content-type"
          value: "image/*"
      kmskey: "key-id"
    notify:
      endpoint: ""
      token: ""
    retry:
      attempts: 10
      delay: "500ms"
expire: null
`))
	want := &Spec{
		Bucket: "BUCKET", Prefix: "p/", Mode: sse.ModeKMS, Key: "my-key", Attempts: 10, Delay: 500 * time.Millisecond,
		Filter: Filter{
			NewerThan: 7 * 24 * time.Hour, OlderThan: 9*24*time.Hour + 10*time.Hour + 31*time.Second,
			CreatedAfter: time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC), CreatedBefore: time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC),
			Tags: []Pair{{"name", "pick*"}}, Metadata: []Pair{{"content-type", "image/*"}}, KMSKey: "key-id",
		},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestDefinitionsThatCannotBeDone(t *testing.T) {
	t.Parallel()
	kms := "keyrotate:\n  apiVersion: v1\n  bucket: b\n  encryption:\n    type: sse-kms\n    key: k\n"
	for text, want := range map[string]struct {
		err  error
		says string
	}{
		"":                            {ErrMalformed, "begins with its kind"},
		"[":                           {ErrMalformed, "not YAML"},
		"keyrotate:":                  {ErrMalformed, "to be a mapping"},
		"rotate: 1":                   {ErrMalformed, `"rotate"`},
		"expire:\n  apiVersion: v1\n": {ErrRefused, "expire"},
		smallest + "replicate:\n  apiVersion: v1\n":                      {ErrRefused, "replicate"},
		smallest + "  colour: red\n":                                     {ErrMalformed, "keyrotate.colour"},
		smallest + "    colour: red\n":                                   {ErrMalformed, "encryption.colour"},
		smallest + "    key: k\n":                                        {ErrMalformed, "encryption.key"},
		kms + "    context: eyJhIjoiYiJ9\n":                              {ErrRefused, "encryption.context"},
		kms + "  flags:\n    notify:\n      endpoint: http://x/\n":       {ErrRefused, "notify.endpoint"},
		kms + "  flags:\n    notify:\n      token: secret-of-mine\n":     {ErrRefused, "notify.token"},
		kms + "  flags:\n    filter:\n      newerThan: yesterday\n":      {ErrMalformed, "filter.newerThan"},
		kms + "  flags:\n    filter:\n      newerThan: 99999999y\n":      {ErrMalformed, "filter.newerThan"},
		kms + "  flags:\n    filter:\n      createdAfter: yesterday\n":   {ErrMalformed, "filter.createdAfter"},
		kms + "  flags:\n    filter:\n      tags: red\n":                 {ErrMalformed, "filter.tags"},
		kms + "  flags:\n    filter:\n      tags:\n        - value: x\n": {ErrMalformed, "filter.tags"},
		kms + "  flags:\n    retry:\n      attempts: many\n":             {ErrMalformed, "retry.attempts"},
		kms + "  flags:\n    retry:\n      delay: 2h\n":                  {ErrMalformed, "retry.delay"},
		strings.Replace(kms, "v1", "v2", 1):                              {ErrMalformed, "apiVersion"},
		strings.Replace(kms, "key: k", "key: a/b", 1):                    {ErrMalformed, "encryption.key"},
		strings.Replace(kms, "sse-kms", "sse-x", 1):                      {ErrMalformed, "encryption.type"},
		strings.Replace(kms, "  bucket: b\n", "", 1):                     {ErrMalformed, "keyrotate.bucket"},
		strings.Replace(kms, "    key: k\n", "", 1):                      {ErrMalformed, "encryption.key"},
		strings.Replace(kms, "bucket: b", "bucket: &b b", 1):             {ErrMalformed, ""},
		kms + "  bucket: c\n":                                            {ErrMalformed, ""},
	} {
		_, err := Parse([]byte(text))
		var problem *Problem
		if !errors.Is(err, want.err) || !errors.As(err, &problem) || !strings.Contains(problem.Text, want.says) || strings.Contains(problem.Text, "secret-of-mine") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestFiltersChoose(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	o := &Object{
		Modified: now.Add(-48 * time.Hour), KMSKey: "k",
		Metadata: []Pair{{"content-type", "image/png"}, {"X-Amz-Meta-A", "b"}}, Tags: []Pair{{"team", "red"}, {"x", "y"}},
	}
	for name, c := range map[string]struct {
		f    Filter
		want bool
	}{
		"nothing asked":    {Filter{}, true},
		"newer":            {Filter{NewerThan: 49 * time.Hour}, true},
		"not newer":        {Filter{NewerThan: 48 * time.Hour}, false},
		"older":            {Filter{OlderThan: 48 * time.Hour}, true},
		"not older":        {Filter{OlderThan: 49 * time.Hour}, false},
		"after":            {Filter{CreatedAfter: now.Add(-72 * time.Hour)}, true},
		"not after":        {Filter{CreatedAfter: now.Add(-48 * time.Hour)}, false},
		"before":           {Filter{CreatedBefore: now}, true},
		"not before":       {Filter{CreatedBefore: now.Add(-48 * time.Hour)}, false},
		"its key":          {Filter{KMSKey: "k"}, true},
		"another key":      {Filter{KMSKey: "l"}, false},
		"a tag of two":     {Filter{Tags: []Pair{{"none", "*"}, {"team", "r*"}}}, true},
		"another value":    {Filter{Tags: []Pair{{"team", "b*"}}}, false},
		"a tag's case":     {Filter{Tags: []Pair{{"Team", "*"}}}, false},
		"metadata":         {Filter{Metadata: []Pair{{"Content-Type", "image/*"}}}, true},
		"no such metadata": {Filter{Metadata: []Pair{{"Content-Type", "text/*"}}}, false},
		"all must hold":    {Filter{KMSKey: "k", Tags: []Pair{{"team", "b*"}}}, false},
	} {
		if got := c.f.Passes(o, now); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(smallest))
	f.Add([]byte("keyrotate:\n  apiVersion: v1\n  flags:\n    filter:\n      newerThan: 1d2h\n      tags:\n      - key: a\n        value: b\n"))
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := Parse(text)
		var problem *Problem
		switch {
		case err != nil && !errors.As(err, &problem):
			t.Errorf("an error without words: %v", err)
		case err == nil && (s.Bucket == "" || s.Mode != sse.ModeS3 && s.Mode != sse.ModeKMS || s.Mode == sse.ModeKMS && s.Key == "" ||
			s.Attempts < 1 || s.Attempts > maxAttempts || s.Delay < 0 || s.Filter.NewerThan < 0 || s.Filter.OlderThan < 0):
			t.Errorf("%q became %+v", text, s)
		}
	})
}
