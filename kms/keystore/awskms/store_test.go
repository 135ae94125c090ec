package awskms_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/keystore/awskms"
	"github.com/bucketseal/bucketseal/kms/keystore/awskms/awsapi"
	"github.com/bucketseal/bucketseal/kms/keystore/awskms/awsfake"
)

// inner is the least that a store can be, with its values open to tests.
type inner struct {
	mu     sync.Mutex
	values map[string][]byte
	down   error
	closed bool
}

func newInner() *inner { return &inner{values: make(map[string][]byte)} }

func (m *inner) Create(_ context.Context, name string, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.values[name]; ok {
		return kms.ErrKeyExists
	}
	m.values[name] = bytes.Clone(value)
	return nil
}

func (m *inner) Get(_ context.Context, name string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	value, ok := m.values[name]
	if !ok {
		return nil, kms.ErrKeyNotFound
	}
	return bytes.Clone(value), nil
}

func (m *inner) Delete(_ context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.values[name]; !ok {
		return kms.ErrKeyNotFound
	}
	delete(m.values, name)
	return nil
}

func (m *inner) List(_ context.Context, prefix string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	names := []string{}
	for name := range m.values {
		if strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

func (m *inner) Status(context.Context) (kms.State, error) { return kms.State{}, m.down }

func (m *inner) Close() error {
	m.closed = true
	return nil
}

// stampedInner is an inner store that can tell changes.
type stampedInner struct{ *inner }

func (stampedInner) Stamp(name string) (string, error) { return "stamp of " + name, nil }

func testOptions(in kms.Store, endpoint string) awskms.Options {
	return awskms.Options{
		Inner: in, Key: "key-1", Endpoint: endpoint, Region: awsfake.Region, Timeout: 5 * time.Second,
		Credentials: awsapi.Credentials{AccessKey: "AKIATEST", SecretKey: "test-secret-key"},
	}
}

func start(t *testing.T) (*awsfake.Server, *inner, kms.Store) {
	t.Helper()
	fake := awsfake.Start(t)
	fake.PutKey("key-1", awsfake.Key{})
	in := newInner()
	s, err := awskms.Open(t.Context(), testOptions(in, fake.URL))
	must(t, err)
	return fake, in, s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
}

func TestInnerStoreSeesSealedValuesOnly(t *testing.T) {
	t.Parallel()
	_, in, s := start(t)
	must(t, s.Create(t.Context(), "k", []byte("the key record")))
	if v := in.values["k"]; !bytes.HasPrefix(v, []byte("bucketseal.awskms.v1:")) || bytes.Contains(v, []byte("key record")) {
		t.Fatalf("stored %q", v)
	}
	got, err := s.Get(t.Context(), "k")
	if err != nil || string(got) != "the key record" {
		t.Fatalf("got %q, %v", got, err)
	}
}

func TestStoredValueOpensOnlyUnderItsName(t *testing.T) {
	t.Parallel()
	_, in, s := start(t)
	must(t, s.Create(t.Context(), "a", []byte("v")))
	in.values["b"] = in.values["a"]
	_, err := s.Get(t.Context(), "b")
	wantErr(t, err, kms.ErrCorruptKey)
}

func TestPlantedOrDamagedValueIsRefused(t *testing.T) {
	t.Parallel()
	_, in, s := start(t)
	must(t, s.Create(t.Context(), "good", []byte("v")))
	for name, value := range map[string][]byte{
		"empty":     {},
		"plain":     []byte("a key record that nobody sealed"),
		"no-base64": []byte("bucketseal.awskms.v1:!"),
		"junk":      []byte("bucketseal.awskms.v1:AAAA"),
		"version2":  bytes.Replace(in.values["good"], []byte("v1"), []byte("v2"), 1),
		"cut":       in.values["good"][:len(in.values["good"])-8],
	} {
		in.values[name] = value
		if got, err := s.Get(t.Context(), name); !errors.Is(err, kms.ErrCorruptKey) || got != nil {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
}

func TestValueOfAnotherKMSKeyOpensOnlyAsFormerKey(t *testing.T) {
	t.Parallel()
	fake, in, s := start(t)
	must(t, s.Create(t.Context(), "k", []byte("v")))
	fake.PutKey("key-2", awsfake.Key{})
	opts := testOptions(in, fake.URL)
	opts.Key = "key-2"
	_, err := awskms.Open(t.Context(), opts) // new keys must not come to lie beside old ones that do not open
	wantErr(t, err, kms.ErrCorruptKey)
	opts.FormerKeys = []string{"key-1"}
	second, err := awskms.Open(t.Context(), opts)
	must(t, err)
	got, err := second.Get(t.Context(), "k")
	if err != nil || string(got) != "v" {
		t.Fatalf("got %q, %v", got, err)
	}
}

func TestValueSizes(t *testing.T) {
	t.Parallel()
	_, _, s := start(t)
	for _, n := range []int{1, 150, awskms.MaxValue} {
		name, value := fmt.Sprintf("k%d", n), bytes.Repeat([]byte{1}, n)
		must(t, s.Create(t.Context(), name, value))
		if got, err := s.Get(t.Context(), name); err != nil || !bytes.Equal(got, value) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	wantErr(t, s.Create(t.Context(), "long", make([]byte, awskms.MaxValue+1)), awskms.ErrTooLong)
}

func TestErrorsOfKMSAreMapped(t *testing.T) {
	t.Parallel()
	fake, in, s := start(t)
	must(t, s.Create(t.Context(), "k", []byte("v")))
	for code, want := range map[string]error{
		"AccessDeniedException":      kms.ErrNotPermitted,
		"DisabledException":          kms.ErrNotPermitted,
		"NotFoundException":          kms.ErrNotPermitted,
		"KMSInvalidStateException":   kms.ErrNotPermitted,
		"InvalidCiphertextException": kms.ErrCorruptKey,
	} {
		fake.Inject("Decrypt", awsfake.Fault{Code: code})
		if got, err := s.Get(t.Context(), "k"); !errors.Is(err, want) || got != nil {
			t.Errorf("%s: got %q, %v", code, got, err)
		}
	}
	fake.Inject("Encrypt", awsfake.Fault{Code: "AccessDeniedException"})
	wantErr(t, s.Create(t.Context(), "new", []byte("v")), kms.ErrNotPermitted)
	if _, ok := in.values["new"]; ok {
		t.Error("something was stored though sealing failed")
	}
	fake.Heal()
	fake.Inject("Decrypt", awsfake.Fault{Code: "ThrottlingException", Times: 2})
	if got, err := s.Get(t.Context(), "k"); err != nil || string(got) != "v" {
		t.Errorf("throttled: got %q, %v", got, err)
	}
}

func TestStatusNeedsBothStores(t *testing.T) {
	t.Parallel()
	fake, in, s := start(t)
	if state, err := s.Status(t.Context()); err != nil || state.Latency <= 0 {
		t.Fatalf("got %v, %v", state, err)
	}
	in.down = kms.ErrUnavailable
	_, err := s.Status(t.Context())
	wantErr(t, err, kms.ErrUnavailable)
	in.down = nil
	fake.PutKey("key-1", awsfake.Key{State: "Disabled"})
	_, err = s.Status(t.Context())
	wantErr(t, err, awsapi.ErrKeyUnusable)
}

func TestStampComesFromTheInnerStore(t *testing.T) {
	t.Parallel()
	fake, in, s := start(t)
	if _, ok := s.(kms.Stamper); ok {
		t.Error("a store without stamps claims to have them")
	}
	with, err := awskms.Open(t.Context(), testOptions(stampedInner{in}, fake.URL))
	must(t, err)
	stamper, ok := with.(kms.ExpiringStamper)
	if !ok {
		t.Fatal("stamps are lost")
	}
	if stamp, err := stamper.Stamp("k"); err != nil || stamp != "stamp of k" {
		t.Errorf("got %q, %v", stamp, err)
	}
	must(t, with.Close())
	if !in.closed {
		t.Error("the inner store stays open")
	}
}

func TestStartFailureNamesWhatToChange(t *testing.T) {
	t.Parallel()
	const denied = "AccessDeniedException"
	tests := []struct {
		name   string
		opts   func(*awskms.Options)
		op     string
		fault  awsfake.Fault
		is     error
		saying []string
	}{
		{"no inner store", func(o *awskms.Options) { o.Inner = nil }, "", awsfake.Fault{}, awskms.ErrOptions, []string{"keystore.aws.kms", "no store"}},
		{"no key", func(o *awskms.Options) { o.Key = "" }, "", awsfake.Fault{}, awskms.ErrOptions, []string{"keystore.aws.kms.key"}},
		{"endpoint", func(o *awskms.Options) { o.Endpoint = "ftp://x" }, "", awsfake.Fault{}, awskms.ErrOptions, []string{".endpoint"}},
		{"half of the credentials", func(o *awskms.Options) { o.Credentials.AccessKey = "" }, "", awsfake.Fault{}, nil, []string{".credentials"}},
		{"describe denied", nil, "DescribeKey", awsfake.Fault{Code: denied}, kms.ErrNotPermitted, []string{"missing permission", "kms:DescribeKey on key-1"}},
		{"encrypt denied", nil, "Encrypt", awsfake.Fault{Code: denied}, kms.ErrNotPermitted, []string{"missing permission", "kms:Encrypt on key-1"}},
		{"decrypt denied", nil, "Decrypt", awsfake.Fault{Code: denied}, kms.ErrNotPermitted, []string{"missing permission", "kms:Decrypt on key-1"}},
		{"bad credentials", nil, "DescribeKey", awsfake.Fault{Code: "InvalidSignatureException"}, kms.ErrNotPermitted, []string{".credentials"}},
		{"key missing", func(o *awskms.Options) { o.Key = "nokey" }, "", awsfake.Fault{}, awsapi.ErrKeyUnusable, []string{"keystore.aws.kms.key", `"nokey" does not exist`}},
		{"key disabled", func(o *awskms.Options) { o.Key = "disabled" }, "", awsfake.Fault{}, awsapi.ErrKeyUnusable, []string{"state Disabled"}},
		{"not KMS", nil, "DescribeKey", awsfake.Fault{Code: "UnknownOperationException"}, kms.ErrUnavailable, []string{"keystore.aws.kms.endpoint"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			fake := awsfake.Start(t)
			fake.PutKey("key-1", awsfake.Key{})
			fake.PutKey("disabled", awsfake.Key{State: "Disabled"})
			if tt.op != "" {
				fake.Inject(tt.op, tt.fault)
			}
			opts := testOptions(newInner(), fake.URL)
			if tt.opts != nil {
				tt.opts(&opts)
			}
			_, err := awskms.Open(t.Context(), opts)
			if err == nil {
				t.Fatal("it started")
			}
			if tt.is != nil {
				wantErr(t, err, tt.is)
			}
			for _, text := range tt.saying {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("%q does not say %q", err, text)
				}
			}
		})
	}
}
