package keyring

import (
	"context"
	"errors"
	"testing"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/keystore/mem"
	"github.com/bucketseal/bucketseal/proxy/glob"
	"github.com/bucketseal/bucketseal/proxy/identity"
	"github.com/bucketseal/bucketseal/sse"
)

// everybody lets everybody who signed use every key.
type everybody struct{}

func (everybody) MayUse(context.Context, *identity.Identity, string, string, identity.Use) error {
	return nil
}

// reader is somebody who signed.
var reader = As(&identity.Identity{AccessKey: "a", Kind: identity.Configured})

// testKeyring returns a ring over a key service that has keys of these names.
func testKeyring(t *testing.T, names ...string) *Ring {
	t.Helper()
	service, err := kms.NewLocal(kms.LocalOptions{Store: mem.New()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(service.Close)
	for _, name := range names {
		if err := service.CreateKey(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	return New(Options{KMS: service, Rights: everybody{}, DefaultKey: "default", S3Key: "s3"})
}

func TestKeyIDsOfClients(t *testing.T) {
	t.Parallel()
	k := New(Options{DefaultKey: "default", Reserved: []string{"bucketseal-system", "bucketseal-system-ready"}})
	for _, tt := range []struct {
		id, name string
		err      error
	}{
		{"", "default", nil},
		{"patients", "patients", nil},
		{"arn:aws:kms:patients", "patients", nil},
		{"arn:aws:kms:eu-central-1:111122223333:key/patients", "patients", nil},
		{"arn:aws:kms:eu-central-1:111122223333:alias/patients", "patients", nil},
		{"arn:aws:kms:", "", ErrKeyName},
		{"arn:aws:kms:key/", "", ErrKeyName},
		{"arn:aws:s3:patients", "", ErrKeyName},
		{"key/patients", "", ErrKeyName},
		{"a b", "", ErrKeyName},
		{"../master", "", ErrKeyName},
		{"ä", "", ErrKeyName},
		{"bucketseal-system", "", kms.ErrNotPermitted},
		{"bucketseal-system-ready", "", kms.ErrNotPermitted},
		{"arn:aws:kms:bucketseal-system", "", kms.ErrNotPermitted},
		{"arn:aws:kms:x:1:key/bucketseal-system-ready", "", kms.ErrNotPermitted},
		{"bucketseal-system-2", "bucketseal-system-2", nil},
	} {
		name, err := k.KeyName(tt.id)
		if name != tt.name || !errors.Is(err, tt.err) || tt.err == nil && err != nil {
			t.Errorf("%q: %q, %v", tt.id, name, err)
		}
	}
}

func TestEncryptionContexts(t *testing.T) {
	t.Parallel()
	name := sse.Name{Bucket: "b", Key: "a//ü"}
	for _, tt := range []struct {
		name   string
		mode   sse.Mode
		client string
		want   string
	}{
		{"SSE-S3 names the bucket", sse.ModeS3, "", `{"b":"b","bucketseal:use":"sse-s3"}`},
		{"SSE-KMS names the object", sse.ModeKMS, "", `{"b":"b/a//ü","bucketseal:use":"sse-kms"}`},
		{"the client's entries come too", sse.ModeKMS, `{"ward":"7"}`, `{"b":"b/a//ü","bucketseal:use":"sse-kms","ward":"7"}`},
		{"the client cannot name another object", sse.ModeKMS, `{"b":"b/other"}`, `{"b":"b/a//ü","bucketseal:use":"sse-kms"}`},
		{"an empty context", sse.ModeKMS, `{}`, `{"b":"b/a//ü","bucketseal:use":"sse-kms"}`},
	} {
		got, err := encryptionContext(tt.mode, name, []byte(tt.client), false)
		if err != nil || string(got) != tt.want {
			t.Errorf("%s: %s, %v", tt.name, got, err)
		}
	}
}

func TestContextsThatClientsMayNotSend(t *testing.T) {
	t.Parallel()
	for _, client := range []string{
		`{"bucketseal:use":"sse-s3"}`, `{"bucketseal:use":"system"}`, `{"bucketseal:x":"y"}`, `{"BucketSeal:use":"x"}`, `{"bucket\u0073eal:use":"x"}`,
		`{"a":1}`, `{"a":"b","a":"c"}`, `[]`, `"a"`, `{`, "{\"a\":\"\xff\"}", `{"a":"b"} x`,
	} {
		if c, err := encryptionContext(sse.ModeKMS, sse.Name{Bucket: "b", Key: "k"}, []byte(client), false); !errors.Is(err, kms.ErrInvalidContext) {
			t.Errorf("%s becomes %s, %v", client, c, err)
		}
	}
}

// written is an object key with the record that seals it.
type written struct {
	key    sse.ObjectKey
	record *sse.Record
}

func write(t *testing.T, k *Ring, name sse.Name, asked *sse.Request) written {
	t.Helper()
	w, err := k.Make(t.Context(), reader, name, asked)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Zero()
	out := written{key: sse.NewObjectKey()}
	text, err := w.Seal(&out.key, sse.NewPrivate(0, sse.NewStreamNonce()))
	if err != nil {
		t.Fatal(err)
	}
	if out.record, err = sse.ParseRecord(text); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestWhatIsWrittenOpens(t *testing.T) {
	t.Parallel()
	name := sse.Name{Bucket: "b", Key: "k"}
	bucketKey := true
	for _, tt := range []struct {
		name   string
		asked  sse.Request
		kmsKey string
	}{
		{"SSE-S3", sse.Request{Mode: sse.ModeS3}, "s3"},
		{"SSE-KMS with the default key", sse.Request{Mode: sse.ModeKMS}, "default"},
		{"SSE-KMS with a key", sse.Request{Mode: sse.ModeKMS, KMSKeyID: "arn:aws:kms:own", ClientContext: []byte(`{"a": "b"}`), BucketKey: &bucketKey}, "own"},
		{"SSE-C", sse.Request{Mode: sse.ModeC, CustomerKey: sse.Secret{1}}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			k := testKeyring(t, "s3", "default", "own")
			w := write(t, k, name, &tt.asked)
			if w.record.KMSKey != tt.kmsKey || string(w.record.ClientContext) != string(tt.asked.ClientContext) || w.record.BucketKey != (tt.asked.BucketKey != nil) {
				t.Errorf("the record says %+v", w.record)
			}
			got, _, err := opened(t, k, reader, name, w.record, &sse.Secret{1})
			if err != nil || got != w.key {
				t.Fatalf("opened with %v", err)
			}
			for _, other := range []sse.Name{{Bucket: "b", Key: "k2"}, {Bucket: "b2", Key: "k"}, {Bucket: "b", Key: "k/"}, {Bucket: "b/k", Key: ""}} {
				if _, _, err := opened(t, k, reader, other, w.record, &sse.Secret{1}); err == nil {
					t.Errorf("opens as %v", other)
				} else if tt.asked.Mode != sse.ModeC && (errors.Is(err, sse.ErrWrongKey) || errors.Is(err, kms.ErrNotPermitted)) {
					t.Errorf("as %v it is called the client's affair: %v", other, err)
				}
			}
		})
	}
}

// opened is Ring.Open in three values.
func opened(t *testing.T, k *Ring, c Caller, name sse.Name, r *sse.Record, customer *sse.Secret) (sse.ObjectKey, *sse.Private, error) {
	t.Helper()
	o, err := k.Open(t.Context(), c, name, r, customer)
	if err != nil {
		return sse.ObjectKey{}, nil, err
	}
	return o.Key, o.Private, nil
}

func TestRecordOfAnotherSSES3KeyIsRefusedUnlessItIsAFormerOne(t *testing.T) {
	t.Parallel()
	name := sse.Name{Bucket: "b", Key: "k"}
	k := testKeyring(t, "s3", "old")
	k.Adopt(Live{S3Key: "old"})
	w := write(t, k, name, &sse.Request{Mode: sse.ModeS3})
	k.Adopt(Live{S3Key: "s3"})
	if _, _, err := opened(t, k, reader, name, w.record, nil); !errors.Is(err, sse.ErrTampered) {
		t.Errorf("a key that is not configured: %v", err)
	}
	k.Adopt(Live{S3Key: "s3", FormerS3Keys: []string{"older", "old"}})
	if key, _, err := opened(t, k, reader, name, w.record, nil); err != nil || key != w.key {
		t.Errorf("a former key: %v", err)
	}
}

func TestCustomerKeyIsNeededAndMustBeTheRightOne(t *testing.T) {
	t.Parallel()
	name := sse.Name{Bucket: "b", Key: "k"}
	k := testKeyring(t)
	w := write(t, k, name, &sse.Request{Mode: sse.ModeC, CustomerKey: sse.Secret{1}})
	if _, _, err := opened(t, k, reader, name, w.record, nil); !errors.Is(err, ErrNoCustomerKey) {
		t.Errorf("without a key: %v", err)
	}
	_, _, err := opened(t, k, reader, name, w.record, &sse.Secret{2})
	if !errors.Is(err, sse.ErrWrongKey) {
		t.Errorf("with another key: %v", err)
	}
}

func TestRemovedKMSKeyOpensNothing(t *testing.T) {
	t.Parallel()
	name := sse.Name{Bucket: "b", Key: "k"}
	k := testKeyring(t, "s3")
	w := write(t, k, name, &sse.Request{Mode: sse.ModeS3})
	if err := k.o.KMS.DeleteKey(t.Context(), "s3"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := opened(t, k, reader, name, w.record, nil); !errors.Is(err, kms.ErrKeyNotFound) {
		t.Errorf("opened with %v", err)
	}
	if _, err := k.Make(t.Context(), reader, name, &sse.Request{Mode: sse.ModeS3}); !errors.Is(err, kms.ErrKeyNotFound) {
		t.Errorf("written with %v", err)
	}
}

// TestDEKOfTheKeyServicesAPIOpensNoRecord: whoever may use the API asks without
// the reserved entry, and what it gets then is no DEK of a record.
func TestDEKOfTheKeyServicesAPIOpensNoRecord(t *testing.T) {
	t.Parallel()
	name := sse.Name{Bucket: "b", Key: "k"}
	k := testKeyring(t, "s3", "default")
	for _, asked := range []sse.Request{{Mode: sse.ModeS3}, {Mode: sse.ModeKMS}} {
		w := write(t, k, name, &asked)
		for _, c := range []kms.Context{{}, {"b": "b"}, {"b": "b/k"}} {
			if _, err := k.o.KMS.DecryptDEK(t.Context(), w.record.KMSKey, w.record.SealedDEK, c.Canonical()); !errors.Is(err, kms.ErrDecrypt) {
				t.Errorf("%v: the context %s opens the record's DEK: %v", asked.Mode, c.Canonical(), err)
			}
		}
		own, err := encryptionContext(asked.Mode, name, nil, false)
		if err != nil || !kms.ContainsReserved(own) {
			t.Errorf("%v: the API does not refuse %s", asked.Mode, own)
		}
	}
}

// oneDEK answers every DecryptDEK with the same DEK.
type oneDEK struct {
	kms.Service
	dek [kms.DEKSize]byte
}

func (o oneDEK) DecryptDEK(context.Context, string, []byte, []byte) ([kms.DEKSize]byte, error) {
	return o.dek, nil
}

func TestRecordThatItsOwnDEKDoesNotOpenIsDamaged(t *testing.T) {
	t.Parallel()
	name := sse.Name{Bucket: "b", Key: "k"}
	k := testKeyring(t, "s3")
	w := write(t, k, name, &sse.Request{Mode: sse.ModeS3})
	k.o.KMS = oneDEK{k.o.KMS, [kms.DEKSize]byte{9}}
	_, _, err := opened(t, k, reader, name, w.record, nil)
	if !errors.Is(err, sse.ErrTampered) || errors.Is(err, sse.ErrWrongKey) {
		t.Errorf("opened with %v", err)
	}
}

func TestAnonymousCallersUseKeysInListedBucketsOnly(t *testing.T) {
	t.Parallel()
	k := New(Options{Rights: everybody{}, AllowAnonymous: glob.Patterns{"public-*"}})
	for _, tt := range []struct {
		caller Caller
		bucket string
		want   error
	}{
		{Caller{}, "public-a", nil},
		{Caller{}, "private", ErrAccess},
		{reader, "private", nil},
		{Operator(), "private", nil},
	} {
		if _, err := k.MayOpen(t.Context(), tt.caller, tt.bucket, sse.Encryption{}); !errors.Is(err, tt.want) || tt.want == nil && err != nil {
			t.Errorf("%v in %s: %v", tt.caller, tt.bucket, err)
		}
	}
	if _, err := New(Options{Rights: everybody{}}).MayOpen(t.Context(), Caller{}, "any", sse.Encryption{}); !errors.Is(err, ErrAccess) {
		t.Errorf("by default: %v", err)
	}
}

// nobody lets nobody use a key.
type nobody struct{}

func (nobody) MayUse(context.Context, *identity.Identity, string, string, identity.Use) error {
	return identity.ErrNotAllowed
}

// TestNoKeyWithoutTheRight goes every way to a key as somebody who may not, and as
// nobody.
func TestNoKeyWithoutTheRight(t *testing.T) {
	t.Parallel()
	k := testKeyring(t, "s3", "default")
	name := sse.Name{Bucket: "b", Key: "k"}
	for _, mode := range []sse.Mode{sse.ModeS3, sse.ModeKMS, sse.ModeC} {
		w := write(t, k, name, &sse.Request{Mode: mode, CustomerKey: sse.Secret{1}})
		grant, err := k.MayOpen(t.Context(), reader, "b", w.record.Encryption())
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := grant.Open(t.Context(), &Sealing{name: sse.Name{Bucket: "other", Key: "k"}, record: w.record}, &sse.Secret{1}); !errors.Is(err, ErrAccess) {
			t.Errorf("%v: a right in one bucket opens another's: %v", mode, err)
		}
		if _, _, err := (Grant{}).Open(t.Context(), &Sealing{name: name, record: w.record}, &sse.Secret{1}); !errors.Is(err, ErrAccess) {
			t.Errorf("%v: no right opens: %v", mode, err)
		}
		o := k.o
		o.Rights = nobody{}
		strict := New(o)
		for who, c := range map[string]Caller{"somebody without rights": reader, "nobody": {}} {
			_, _, err := opened(t, strict, c, name, w.record, &sse.Secret{1})
			_, toWrite := strict.OpenToWrite(t.Context(), c, name, w.record, &sse.Secret{1})
			_, made := strict.Make(t.Context(), c, name, &sse.Request{Mode: mode, CustomerKey: sse.Secret{1}})
			known := strict.MayKnow(t.Context(), c, "b", w.record)
			for what, err := range map[string]error{"open": err, "open to write": toWrite, "make": made, "know": known} {
				if !errors.Is(err, ErrAccess) && !errors.Is(err, kms.ErrNotPermitted) {
					t.Errorf("%v: %s: %s: %v", mode, who, what, err)
				}
			}
		}
	}
}
