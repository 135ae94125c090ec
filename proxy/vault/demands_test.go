package vault_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/proxy/bucketpolicy"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/proxy/vault/vaulttest"
	"github.com/bucketseal/bucketseal/sse"
)

// demanding is a policy that denies writes without a header that asks for encryption.
const demanding = `{"Statement":{"Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"*","Condition":{"Null":{"s3:x-amz-server-side-encryption":"true"}}}}`

func TestBucketPoliciesBindWhoSigned(t *testing.T) {
	t.Parallel()
	k := newWriteKit(t)
	k.at.Policy = []byte(demanding)
	j := k.watch()
	unasked := func(p *vault.Put) {
		p.Body = func(vault.Digests) (vault.Body, error) {
			t.Error("the body is asked for")
			return nil, nil
		}
	}
	if _, err := k.put("k", []byte("data"), sse.ModeS3, unasked); !errors.Is(err, vault.ErrAccessDenied) {
		t.Errorf("a write that says nothing of encryption: %v", err)
	}
	if ops := j.ops(); !slices.Equal(ops, []string{"May"}) {
		t.Errorf("the storage is asked %v", ops)
	}
	k.c.Policy = func() map[string][]string { return map[string][]string{bucketpolicy.Method: {"AES256"}} }
	if _, err := k.put("k", []byte("data"), sse.ModeS3); err != nil {
		t.Errorf("a write that asks for encryption: %v", err)
	}
}

func TestWhoMayNotWriteIsToldSoByTheStorage(t *testing.T) {
	t.Parallel()
	k := newWriteKit(t)
	k.at.Policy = []byte(demanding)
	k.forbidding(memory.Put)
	if _, err := k.put("k", []byte("data"), sse.ModeS3); !errors.Is(err, storage.ErrForbidden) {
		t.Errorf("who may not write: %v", err)
	}
	k.at.Storage.SetRights(nil)
	_, err := k.put("k", []byte("data"), sse.ModeS3, func(p *vault.Put) { p.Name.Bucket = "missing" })
	if !errors.Is(err, storage.ErrNoSuchBucket) {
		t.Errorf("a bucket that does not exist: %v", err)
	}
}

// A policy that was not read demands nothing only where there is none, or the proxy may
// not read it.
func TestOnlyAnAnswerAboutThePolicyMeansThatItDemandsNothing(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		document string
		err      error
		want     error
	}{
		{"", nil, nil},
		{"", storage.ErrForbidden, nil},
		{"", storage.ErrUnreachable, storage.ErrUnreachable},
		{"<Error>", nil, storage.ErrUnreachable},
		{demanding[:len(demanding)-1], nil, storage.ErrUnreachable},
	} {
		at := vaulttest.New(t, memory.Options{})
		at.Change = func(o *vault.Options) {
			o.Policy = func(context.Context, string) ([]byte, error) {
				if tt.document == "" {
					return nil, tt.err
				}
				return []byte(tt.document), tt.err
			}
		}
		_, err := at.Engine(t).Put(t.Context(), vaulttest.Caller("writer"), &vault.Put{
			Write: vault.Write{Name: nameOf("k")}, Size: 4,
			Body: func(vault.Digests) (vault.Body, error) { return vaulttest.NewBody([]byte("data")), nil },
		})
		if !errors.Is(err, tt.want) || tt.want == nil && err != nil {
			t.Errorf("%q, %v: %v", tt.document, tt.err, err)
		}
	}
}

func TestAPolicyIsReadOnceForManyWrites(t *testing.T) {
	t.Parallel()
	at, read := vaulttest.New(t, memory.Options{}), 0
	at.Change = func(o *vault.Options) {
		o.Policy = func(context.Context, string) ([]byte, error) { read++; return nil, nil }
	}
	e, c := at.Engine(t), vaulttest.Caller("writer")
	put := func() {
		_, err := e.Put(t.Context(), c, &vault.Put{
			Write: vault.Write{Name: nameOf("k")}, Size: 4,
			Body: func(vault.Digests) (vault.Body, error) { return vaulttest.NewBody([]byte("data")), nil },
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	put()
	put()
	if read != 1 {
		t.Errorf("the policy was read %d times", read)
	}
	e.PolicyChanged(t.Context(), vaulttest.Bucket, nil)
	put()
	if read != 2 {
		t.Errorf("after a change the policy was read %d times", read)
	}
}

func TestOnlyWhoDemandsSomethingWaits(t *testing.T) {
	t.Parallel()
	e := vaulttest.New(t, memory.Options{}).Engine(t)
	begin := time.Now()
	e.PolicyChanged(t.Context(), vaulttest.Bucket, nil)
	e.PolicyChanged(t.Context(), vaulttest.Bucket, []byte(`{"Statement":{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"*"}}`))
	if waited := time.Since(begin); waited > time.Second {
		t.Errorf("waited %v for nothing", waited)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	e.PolicyChanged(ctx, vaulttest.Bucket, []byte(demanding))
	if ctx.Err() == nil {
		t.Error("a policy that demands encryption is answered before others obey it")
	}
}
