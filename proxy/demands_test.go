package proxy

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/upstream"
	"github.com/bucketseal/bucketseal/sse"
)

// serverBefore is a Server in front of a MinIO that answers with the handler.
func serverBefore(t *testing.T, handler http.HandlerFunc) *Server {
	t.Helper()
	minio := httptest.NewServer(handler)
	t.Cleanup(minio.Close)
	endpoint, err := url.Parse(minio.URL)
	if err != nil {
		t.Fatal(err)
	}
	up, err := upstream.New(upstream.Options{Endpoint: endpoint})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(up.Close)
	return &Server{
		opts:       Options{Upstream: up, Service: storage.Credential{AccessKey: testRoot, SecretKey: testRootSecret}},
		identities: testIdentities(t), log: slog.New(slog.DiscardHandler),
	}
}

// A policy that was not read demands nothing only where MinIO says that there is
// none, or that the proxy may not read it.
func TestOnlyAnAnswerAboutThePolicyMeansThatItDemandsNothing(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		status  int
		code    string
		nothing bool
	}{
		{403, "AccessDenied", true},
		{403, "InvalidAccessKeyId", false},
		{403, "SignatureDoesNotMatch", false},
		{403, "RequestTimeTooSkewed", false},
		{403, "", false},
		{404, "NoSuchBucketPolicy", true},
		{404, "NoSuchBucket", true},
		{404, "", false},
		{404, "NoSuchKey", false},
		{503, "SlowDown", false},
	} {
		s := serverBefore(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(tt.status)
			fmt.Fprintf(w, "<Error><Code>%s</Code></Error>", tt.code)
		})
		known, err := s.bucketDemands(t.Context(), "b")
		if (err == nil) != tt.nothing || len(known) > 0 || err != nil && !errors.Is(err, storage.ErrUnreachable) {
			t.Errorf("%d %s: %v, %v", tt.status, tt.code, known, err)
		}
		if answer := asAPIError(err); err != nil && answer.status != http.StatusServiceUnavailable {
			t.Errorf("%d %s: the write is answered %v", tt.status, tt.code, answer)
		}
	}
}

func TestNoSpellingEvadesADemand(t *testing.T) {
	t.Parallel()
	for condition, denied := range map[string][]http.Header{
		`{"StringEquals":{"s3:x-amz-server-side-encryption":"AES256"}}`: {
			{sse.HeaderMethod: {"AES256"}}, {sse.HeaderMethod: {"aes256"}},
		},
		`{"StringEquals":{"s3:x-amz-server-side-encryption-aws-kms-key-id":"key"}}`: {
			{sse.HeaderKMSKeyID: {"key"}},
			{sse.HeaderKMSKeyID: {" key"}},
			{sse.HeaderKMSKeyID: {"arn:aws:kms:key"}},
			{sse.HeaderKMSKeyID: {"arn:aws:kms:us-east-1:1:key/key"}},
		},
		`{"StringEquals":{"s3:x-amz-server-side-encryption-aws-kms-key-id":"arn:aws:kms:key"}}`: {{sse.HeaderKMSKeyID: {"key"}}},
		`{"Null":{"s3:x-amz-server-side-encryption-aws-kms-key-id":"true"}}`:                    {{sse.HeaderKMSKeyID: {""}}},
	} {
		s := serverBefore(t, func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `{"Statement":{"Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"*","Condition":%s}}`, condition)
		})
		c, err := s.callerWith(t.Context(), "app", "")
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range denied {
			r := &request{Request: (&http.Request{Header: h}).WithContext(t.Context()), bucket: "b", key: "k", caller: c}
			if err := s.obeys(t.Context(), r); !errors.Is(err, errAccessDenied) {
				t.Errorf("%s lets %v pass: %v", condition, h, err)
			}
		}
	}
}

func TestPoliciesAreToldOfEncryptionAsTheyWriteIt(t *testing.T) {
	t.Parallel()
	r := &request{Request: &http.Request{Header: http.Header{sse.HeaderMethod: {"AWS:KMS"}, sse.HeaderKMSKeyID: {" arn:aws:kms:eu:1:key/k "}}}}
	told := r.told()
	if got, want := told[toldKMSKeyID], []string{"k", "arn:aws:kms:k", "arn:aws:kms:eu:1:key/k"}; !slices.Equal(got, want) || told.Get(toldMethod) != sse.MethodKMS {
		t.Errorf("policies are told %v", told)
	}
}

func TestWhoMayNotWriteIsToldSoByMinIO(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]string{"NoSuchKey": "AccessDenied", "NoSuchBucket": "NoSuchBucket"} {
		s := serverBefore(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Has("policy") {
				_, _ = io.WriteString(w, `{"Statement":{"Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"*","Condition":{"Null":{"s3:x-amz-server-side-encryption":"true"}}}}`)
				return
			}
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprintf(w, "<Error><Code>%s</Code></Error>", code)
		})
		c, err := s.callerWith(t.Context(), "app", "")
		if err != nil {
			t.Fatal(err)
		}
		r := &request{Request: (&http.Request{Method: http.MethodPut, Header: http.Header{}}).WithContext(t.Context()), bucket: "b", key: "k", caller: c}
		if _, err := s.askedEncryption(r); err == nil || asAPIError(err).code != want {
			t.Errorf("MinIO says %s to a write: %v", code, err)
		}
	}
}

func TestNoSendersOfPartsAreRememberedWithoutAnUpload(t *testing.T) {
	t.Parallel()
	s := serverBefore(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, "<Error><Code>NoSuchUpload</Code></Error>")
	})
	r := &request{Request: (&http.Request{Method: http.MethodPut, Header: http.Header{}}).WithContext(t.Context()), query: url.Values{"uploadId": {"none"}}, bucket: "b", key: "k"}
	if _, err := s.upload(r); !errors.Is(err, errNoSuchUpload) || len(s.senders.till) != 0 {
		t.Errorf("%v, %d senders are remembered", err, len(s.senders.till))
	}
	if err := s.maySendPart(t.Context(), r, sealedUnder{}); err != nil || !s.senders.has(partSenderOf(r)) {
		t.Errorf("a sender is not remembered: %v", err)
	}
	r.Header.Set("Referer", "other")
	if s.senders.has(partSenderOf(r)) {
		t.Error("a sender is taken for another")
	}
}

func TestAPolicyThatIsTooLargeIsNotTakenForAShorterOne(t *testing.T) {
	t.Parallel()
	s := serverBefore(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"Statement":[]%s}`, strings.Repeat(" ", maxPolicy))
	})
	if _, err := s.bucketDemands(t.Context(), "b"); !errors.Is(err, storage.ErrUnreachable) {
		t.Errorf("%v", err)
	}
}
