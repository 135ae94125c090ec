package proxy

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/vault"
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
		s := &Server{identities: testIdentities(t), vault: at.Engine(t).Vault}
		c, err := s.callerWith(t.Context(), "app", "")
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range denied {
			r := &request{Request: (&http.Request{Header: h}).WithContext(t.Context()), bucket: vaulttest.Bucket, key: "k", caller: c}
			if _, err := s.vault.Put(t.Context(), s.writer(r), s.putOf(r)); !errors.Is(err, vault.ErrAccessDenied) {
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
