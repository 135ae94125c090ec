package storage

import (
	"errors"
	"maps"
	"reflect"
	"slices"
	"testing"

	"github.com/bucketseal/bucketseal/sse"
)

func TestToldEncryptionReplacesWhatWasSaid(t *testing.T) {
	t.Parallel()
	said := map[string][]string{ToldMethod: {"x"}, ToldKMSKeyID: {"y"}, ToldCustomerAlgorithm: {"z"}, ToldTransport: {"true"}}
	for _, tt := range []struct {
		mode sse.Mode
		key  string
		want map[string][]string
	}{
		{sse.ModeNone, "", nil},
		{sse.ModeS3, "k", map[string][]string{ToldMethod: {"AES256"}}},
		{sse.ModeC, "", map[string][]string{ToldCustomerAlgorithm: {"AES256"}}},
		{sse.ModeKMS, "k", map[string][]string{ToldMethod: {"aws:kms"}, ToldKMSKeyID: {"k", "arn:aws:kms:k"}}},
		{sse.ModeKMS, "", map[string][]string{ToldMethod: {"aws:kms"}, ToldKMSKeyID: nil}},
	} {
		told := maps.Clone(said)
		TellEncryption(told, tt.mode, tt.key)
		want := map[string][]string{ToldTransport: {"true"}}
		maps.Copy(want, tt.want)
		if !reflect.DeepEqual(told, want) {
			t.Errorf("mode %v tells %v, want %v", tt.mode, told, want)
		}
	}
}

func TestKeySpellings(t *testing.T) {
	t.Parallel()
	for id, want := range map[string][]string{
		"":                       nil,
		"k":                      {"k", "arn:aws:kms:k"},
		"arn:aws:kms:k":          {"k", "arn:aws:kms:k"},
		"arn:aws:kms:eu:1:key/k": {"k", "arn:aws:kms:k", "arn:aws:kms:eu:1:key/k"},
		"a/k":                    {"a/k", "arn:aws:kms:a/k"},
	} {
		if got := KeySpellings(id); !reflect.DeepEqual(got, want) {
			t.Errorf("%q is spelled %q, want %q", id, got, want)
		}
	}
}

func TestReservedNames(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		RecordName: true, "x-amz-meta-bucketseal": true, "X-AMZ-META-BUCKETSEAL-2": true, "X-Amz-Meta-Bucketsealed": true,
		"X-Amz-Meta-Bucketsea": false, "X-Amz-Meta-A": false, "Bucketseal": false, "": false,
	} {
		if got := IsReserved(name); got != want {
			t.Errorf("%q is reserved: %v", name, got)
		}
	}
}

func TestSourcesAreNamedURLEncoded(t *testing.T) {
	t.Parallel()
	for want, s := range map[string]Source{
		"b/k":                                 {Name: sse.Name{Bucket: "b", Key: "k"}},
		"/b/k":                                {Name: sse.Name{Bucket: "b", Key: "k"}, Slash: true},
		"b/a%20b/%C3%BC%3F%25?versionId=null": {Name: sse.Name{Bucket: "b", Key: "a b/ü?%"}, Version: "null"},
		"b/k?versionId=a+b%26":                {Name: sse.Name{Bucket: "b", Key: "k"}, Version: "a b&"},
	} {
		if got := s.Text(); got != want {
			t.Errorf("%+v is named %q, want %q", s, got, want)
		}
	}
}

func TestWhatErrorsMean(t *testing.T) {
	t.Parallel()
	sentinels := []error{ErrPrecondition, ErrNotFound, ErrNoSuchBucket, ErrNoSuchUpload, ErrRange, ErrForbidden, ErrUnreachable, ErrListing, ErrLied}
	for _, tt := range []struct {
		e    Error
		want []error
	}{
		{Error{Status: 412}, []error{ErrPrecondition}},
		{Error{Status: 404, Code: "NoSuchKey"}, []error{ErrNotFound}},
		{Error{Status: 405}, []error{ErrNotFound}},
		{Error{Status: 404, Code: "NoSuchBucket"}, []error{ErrNotFound, ErrNoSuchBucket}},
		{Error{Status: 404, Code: "NoSuchUpload"}, []error{ErrNotFound, ErrNoSuchUpload}},
		{Error{Status: 416}, []error{ErrRange}},
		{Error{Status: 403}, []error{ErrForbidden}},
		{Error{Status: 500}, nil},
	} {
		var got []error
		for _, sentinel := range sentinels {
			if errors.Is(&tt.e, sentinel) {
				got = append(got, sentinel)
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%+v means %v, want %v", tt.e, got, tt.want)
		}
	}
}
