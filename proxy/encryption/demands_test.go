package encryption_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/proxy/bucketpolicy"
	"github.com/bucketseal/bucketseal/proxy/caller"
	"github.com/bucketseal/bucketseal/proxy/encryption"
	"github.com/bucketseal/bucketseal/proxy/plaintext"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/proxy/vault/vaulttest"
	"github.com/bucketseal/bucketseal/sse"
)

// demanding is a policy that denies writes without a header that asks for encryption.
const demanding = `{"Statement":{"Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"*","Condition":{"Null":{"s3:x-amz-server-side-encryption":"true"}}}}`

// put writes an object for which SSE-S3 is asked, as changes want it.
func put(t testing.TB, e *vaulttest.Engine, c *caller.Caller, changes ...func(*vault.Put)) error {
	t.Helper()
	p := &vault.Put{
		Write: vault.Write{Name: vaulttest.Name("k"), Asked: encryption.Asked{Request: sse.Request{Mode: sse.ModeS3}}}, Size: 4,
		Body: func(plaintext.Digests) (plaintext.Body, error) { return vaulttest.NewBody([]byte("data")), nil },
	}
	for _, change := range changes {
		change(p)
	}
	_, err := e.Put(t.Context(), c, p)
	return err
}

func TestBucketPoliciesBindWhoSigned(t *testing.T) {
	t.Parallel()
	at, c := vaulttest.New(t, memory.Options{}), vaulttest.Caller("writer")
	at.Policy = []byte(demanding)
	e, calls := at.Engine(t), at.Watch(vaulttest.Bucket, nil)
	unasked := func(p *vault.Put) {
		p.Asked = encryption.Asked{}
		p.Body = func(plaintext.Digests) (plaintext.Body, error) {
			t.Error("the body is asked for")
			return nil, nil
		}
	}
	if err := put(t, e, c, unasked); !errors.Is(err, encryption.ErrAccessDenied) {
		t.Errorf("a write that says nothing of encryption: %v", err)
	}
	if calls := calls.Took(); !slices.Equal(calls, []string{"caller May"}) {
		t.Errorf("the storage is asked %v", calls)
	}
	c.Policy = func() map[string][]string { return map[string][]string{bucketpolicy.Method: {"AES256"}} }
	if err := put(t, e, c); err != nil {
		t.Errorf("a write that asks for encryption: %v", err)
	}
}

func TestWhoMayNotWriteIsToldSoByTheStorage(t *testing.T) {
	t.Parallel()
	at, c := vaulttest.New(t, memory.Options{}), vaulttest.Caller("writer")
	at.Policy = []byte(demanding)
	e := at.Engine(t)
	at.Storage.SetRights(func(c *memory.Call) error {
		if c.Op == memory.Put && !c.Own {
			return memory.Forbidden()
		}
		return nil
	})
	if err := put(t, e, c); !errors.Is(err, storage.ErrForbidden) {
		t.Errorf("who may not write: %v", err)
	}
	at.Storage.SetRights(nil)
	err := put(t, e, c, func(p *vault.Put) { p.Name.Bucket = "missing" })
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
		at.Change = func(o *vaulttest.Options) {
			o.Policy = func(context.Context, string) ([]byte, error) {
				if tt.document == "" {
					return nil, tt.err
				}
				return []byte(tt.document), tt.err
			}
		}
		err := put(t, at.Engine(t), vaulttest.Caller("writer"), func(p *vault.Put) { p.Asked = encryption.Asked{} })
		if !errors.Is(err, tt.want) || tt.want == nil && err != nil {
			t.Errorf("%q, %v: %v", tt.document, tt.err, err)
		}
	}
}

func TestAPolicyIsReadOnceForManyWrites(t *testing.T) {
	t.Parallel()
	at, read := vaulttest.New(t, memory.Options{}), 0
	at.Change = func(o *vaulttest.Options) {
		o.Policy = func(context.Context, string) ([]byte, error) { read++; return nil, nil }
	}
	e, c := at.Engine(t), vaulttest.Caller("writer")
	put := func() {
		if err := put(t, e, c); err != nil {
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
