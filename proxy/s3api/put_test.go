package s3api

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/identity"
	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/proxy/plaintext"
	"github.com/bucketseal/bucketseal/proxy/sigv4"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/sse"
)

func TestDeclaredSize(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		length  int64
		decoded string
		want    int64
		err     error
	}{
		{0, "", 0, nil},
		{5 << 40, "", 5 << 40, nil},
		{5<<40 + 1, "", 0, vault.ErrTooLarge},
		{-1, "", 0, plaintext.ErrMissingLength},
		{100, "60", 60, nil},
		{-1, "60", 60, nil},
		{100, "-1", 0, sigv4.ErrIncompleteBody},
		{100, "x", 0, sigv4.ErrIncompleteBody},
		{100, "99999999999999999999", 0, sigv4.ErrIncompleteBody},
	} {
		r := &intake.Request{Request: &http.Request{ContentLength: tt.length, Header: http.Header{}}}
		if tt.decoded != "" {
			r.Header.Set("X-Amz-Decoded-Content-Length", tt.decoded)
		}
		got, err := declaredSize(r)
		if got != tt.want || !errors.Is(err, tt.err) || tt.err == nil && err != nil {
			t.Errorf("%d, %q: %d, %v", tt.length, tt.decoded, got, err)
		}
	}
}

func TestWritesAreEncryptedAsTheirHeadersAsk(t *testing.T) {
	t.Parallel()
	s := newAPI(t, nil)
	for _, tt := range []struct {
		name   string
		header map[string]string
		status int // of the refusal, 0 for none
		mode   sse.Mode
	}{
		{"SSE-S3", map[string]string{sse.HeaderMethod: "AES256"}, 0, sse.ModeS3},
		{"SSE-KMS", map[string]string{sse.HeaderMethod: "aws:kms"}, 0, sse.ModeKMS},
		{"customer key over http", map[string]string{sse.HeaderCustomerAlgorithm: "AES256"}, 400, 0},
		{"context with a reserved name", map[string]string{sse.HeaderMethod: "aws:kms", sse.HeaderContext: base64Std([]byte(`{"bucketseal:use":"system"}`))}, 400, 0},
		{"context that is no JSON", map[string]string{sse.HeaderMethod: "aws:kms", sse.HeaderContext: base64Std([]byte(`{`))}, 400, 0},
		{"context that is no base64", map[string]string{sse.HeaderMethod: "aws:kms", sse.HeaderContext: "{}"}, 400, 0},
		{"unknown method", map[string]string{sse.HeaderMethod: "aws:kms:dsse"}, 400, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := http.Header{}
			for name, value := range tt.header {
				h.Set(name, value)
			}
			r := &intake.Request{
				Request: (&http.Request{Header: h}).WithContext(context.Background()), Bucket: "b", Key: "k",
				Caller: intake.Caller{AccessKey: "root", Identity: &identity.Identity{AccessKey: "root"}},
			}
			asked := s.askedOf(r)
			switch err := asked.Fault; {
			case tt.status == 0 && err != nil:
				t.Errorf("refused: %v", err)
			case tt.status != 0 && (err == nil || Describe(err).Status != tt.status):
				t.Errorf("answered %v", err)
			case tt.status == 0 && asked.Mode != tt.mode:
				t.Errorf("mode %v", asked.Mode)
			}
			if err := asked.Fault; err != nil && asked.Hidden == errors.Is(err, errPlainHTTP) {
				t.Errorf("hidden from those who may not write: %v: %v", asked.Hidden, err)
			}
		})
	}
}
