package s3api

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/encryption"
	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/vault/vaulttest"
	"github.com/bucketseal/bucketseal/sse"
)

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
		at := vaulttest.New(t, memory.Options{})
		at.Policy = fmt.Appendf(nil, `{"Statement":{"Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"*","Condition":%s}}`, condition)
		s := newAPI(t, at.Engine(t).Vault)
		c, err := s.in.CallerWith(t.Context(), "app", "")
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range denied {
			r := &intake.Request{Request: (&http.Request{Header: h}).WithContext(t.Context()), Bucket: vaulttest.Bucket, Key: "k", Caller: c}
			if _, err := s.vault.Put(t.Context(), s.writer(r), s.putOf(r)); !errors.Is(err, encryption.ErrAccessDenied) {
				t.Errorf("%s lets %v pass: %v", condition, h, err)
			}
		}
	}
}

func TestPoliciesAreToldOfEncryptionAsTheyWriteIt(t *testing.T) {
	t.Parallel()
	r := &intake.Request{Request: &http.Request{Header: http.Header{sse.HeaderMethod: {"AWS:KMS"}, sse.HeaderKMSKeyID: {" arn:aws:kms:eu:1:key/k "}}}}
	told := make(url.Values)
	tell(told, r)
	if got, want := told[storage.ToldKMSKeyID], []string{"k", "arn:aws:kms:k", "arn:aws:kms:eu:1:key/k"}; !slices.Equal(got, want) || told.Get(storage.ToldMethod) != sse.MethodKMS {
		t.Errorf("policies are told %v", told)
	}
}
