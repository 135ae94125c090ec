package awssecrets_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/keystore/awskms/awsapi"
	"github.com/bucketseal/bucketseal/kms/keystore/awskms/awsfake"
	"github.com/bucketseal/bucketseal/kms/keystore/awssecrets"
)

func testOptions(endpoint string) awssecrets.Options {
	return awssecrets.Options{
		Endpoint:    endpoint,
		Region:      awsfake.Region,
		Credentials: awsapi.Credentials{AccessKey: "AKIATEST", SecretKey: "test-secret-key"},
		Timeout:     5 * time.Second,
	}
}

func open(t *testing.T, opts awssecrets.Options) *awssecrets.Store {
	t.Helper()
	s, err := awssecrets.Open(t.Context(), opts)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return s
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

// kesRecord is a key as KES stores it.
func kesRecord() string {
	return string(kms.ImportedKey([32]byte{7}, kms.AES256, time.Unix(1, 0), "creator").MarshalRecord())
}

func TestSecretIsNamedAndFilledAsKESDoes(t *testing.T) {
	t.Parallel()
	fake := awsfake.Start(t)
	s := open(t, testOptions(fake.URL))
	record := kesRecord()
	must(t, s.Create(t.Context(), "my-key", []byte(record)))
	secret, ok := fake.Secret("my-key")
	if !ok || secret.String != record || secret.Binary != nil || secret.KMSKey != "" {
		t.Fatalf("stored %+v, %v", secret, ok)
	}
}

func TestGetReadsStringAndBinary(t *testing.T) {
	t.Parallel()
	fake := awsfake.Start(t)
	fake.PutSecret("text", awsfake.Secret{String: "text value"})
	fake.PutSecret("binary", awsfake.Secret{Binary: []byte{0, 0xff, 1}})
	s := open(t, testOptions(fake.URL))
	for name, want := range map[string]string{"text": "text value", "binary": "\x00\xff\x01"} {
		got, err := s.Get(t.Context(), name)
		if err != nil || string(got) != want {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
}

func TestBinaryValueComesBack(t *testing.T) {
	t.Parallel()
	fake := awsfake.Start(t)
	s := open(t, testOptions(fake.URL))
	value := []byte{0xff, 0, 0xfe}
	must(t, s.Create(t.Context(), "k", value))
	got, err := s.Get(t.Context(), "k")
	if err != nil || !bytes.Equal(got, value) {
		t.Fatalf("got %x, %v", got, err)
	}
}

func TestNewSecretsCarryKMSKeyPrefixAndTags(t *testing.T) {
	t.Parallel()
	fake := awsfake.Start(t)
	fake.PutKey("key-1", awsfake.Key{})
	opts := testOptions(fake.URL)
	opts.KMSKey, opts.Prefix, opts.Tags = "key-1", "team/kms/", map[string]string{"app": "bucketseal"}
	s := open(t, opts)
	must(t, s.Create(t.Context(), "k", []byte("v")))
	secret, ok := fake.Secret("team/kms/k")
	if !ok || secret.KMSKey != "key-1" || secret.Tags["app"] != "bucketseal" {
		t.Fatalf("stored %+v, %v", secret, ok)
	}
}

func TestDeleteLeavesARecoveryWindow(t *testing.T) {
	t.Parallel()
	for days, want := range map[int]int64{0: 30, 7: 7} {
		fake := awsfake.Start(t)
		opts := testOptions(fake.URL)
		opts.RecoveryDays = days
		s := open(t, opts)
		must(t, s.Create(t.Context(), "k", []byte("v")))
		must(t, s.Delete(t.Context(), "k"))
		secret, ok := fake.Secret("k")
		if !ok || !secret.Deleted || secret.RecoveryDays != want {
			t.Errorf("days %d: %+v, %v", days, secret, ok)
		}
		_, err := s.Get(t.Context(), "k")
		wantErr(t, err, kms.ErrKeyNotFound)
		wantErr(t, s.Delete(t.Context(), "k"), kms.ErrKeyNotFound)
		err = s.Create(t.Context(), "k", []byte("w"))
		wantErr(t, err, kms.ErrKeyExists)
		if !strings.Contains(err.Error(), "scheduled for deletion") || !strings.Contains(err.Error(), "restore-secret --secret-id k") {
			t.Errorf("no hint in %q", err)
		}
	}
}

func TestPurgeDeletesAtOnce(t *testing.T) {
	t.Parallel()
	fake := awsfake.Start(t)
	opts := testOptions(fake.URL)
	opts.Purge = true
	s := open(t, opts)
	must(t, s.Create(t.Context(), "k", []byte("v")))
	must(t, s.Delete(t.Context(), "k"))
	if _, ok := fake.Secret("k"); ok {
		t.Fatal("secret is still there")
	}
	wantErr(t, s.Delete(t.Context(), "k"), kms.ErrKeyNotFound)
	must(t, s.Create(t.Context(), "k", []byte("w")))
}

func TestForeignSecretsAreNeitherListedNorDeleted(t *testing.T) {
	t.Parallel()
	fake := awsfake.Start(t)
	password := awsfake.Secret{String: "hunter2"}
	fake.PutSecret("database", password)
	fake.PutSecret("prod/database", password)
	fake.PutSecret("kms-database", password)
	fake.PutSecret("kms-tagged", awsfake.Secret{String: "x", Tags: map[string]string{"app": "bucketseal"}})
	fake.PutSecret("kms-othertag", awsfake.Secret{String: "x", Tags: map[string]string{"app": "bucketseal2"}})
	fake.PutSecret("kms-managed", awsfake.Secret{String: "x", OwningService: "rds", Tags: map[string]string{"app": "bucketseal"}})

	tests := []struct {
		name      string
		prefix    string
		tags      map[string]string
		list      []string
		forbidden []string
		absent    []string
	}{
		{"as KES", "", nil, []string{"database", "kms-database", "kms-othertag", "kms-tagged"}, []string{"database", "kms-managed"}, []string{"nothing"}},
		{"prefix", "kms-", nil, []string{"database", "othertag", "tagged"}, []string{"database", "managed"}, []string{"kms-database"}},
		{"tags", "", map[string]string{"app": "bucketseal"}, []string{"kms-tagged"}, []string{"database", "kms-othertag", "kms-managed"}, nil},
		{"both", "kms-", map[string]string{"app": "bucketseal"}, []string{"tagged"}, []string{"database", "othertag", "managed"}, []string{"kms-tagged"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			opts := testOptions(fake.URL)
			opts.Prefix, opts.Tags, opts.Purge = tt.prefix, tt.tags, true
			s := open(t, opts)
			got, err := s.List(t.Context(), "")
			if err != nil || !slices.Equal(got, tt.list) {
				t.Errorf("listed %q, %v; want %q", got, err, tt.list)
			}
			for _, name := range tt.forbidden {
				wantErr(t, s.Delete(t.Context(), name), kms.ErrNotPermitted)
			}
			for _, name := range tt.absent {
				wantErr(t, s.Delete(t.Context(), name), kms.ErrKeyNotFound)
			}
		})
	}
	if fake.Calls("DeleteSecret") != 0 {
		t.Fatal("a foreign secret was deleted")
	}
}

func TestKeysOfKESCanBeDeleted(t *testing.T) {
	t.Parallel()
	fake := awsfake.Start(t)
	fake.PutSecret("current", awsfake.Secret{String: kesRecord()})
	fake.PutSecret("old", awsfake.Secret{String: `{"bytes":"` + base64.StdEncoding.EncodeToString(make([]byte, 32)) + `"}`})
	fake.PutSecret("binary", awsfake.Secret{Binary: []byte(kesRecord())})
	s := open(t, testOptions(fake.URL))
	for _, name := range []string{"current", "old", "binary"} {
		if err := s.Delete(t.Context(), name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestListFollowsAllPages(t *testing.T) {
	t.Parallel()
	fake := awsfake.Start(t)
	fake.SetPageSize(7)
	var want []string
	for i := range 60 {
		fake.PutSecret(fmt.Sprintf("aa/foreign-%02d", i), awsfake.Secret{String: "x"}) // fills pages that come back empty
		name := fmt.Sprintf("key-%03d", i)
		fake.PutSecret("p/"+name, awsfake.Secret{String: "x"})
		want = append(want, name)
	}
	opts := testOptions(fake.URL)
	opts.Prefix = "p/"
	s := open(t, opts)
	got, err := s.List(t.Context(), "")
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("listed %q, %v", got, err)
	}
	if got, err = s.List(t.Context(), "key-01"); err != nil || !slices.Equal(got, want[10:20]) {
		t.Fatalf("listed %q, %v", got, err)
	}
}

func TestOwnChangesAreListedThoughAWSLagsBehind(t *testing.T) {
	t.Parallel()
	fake := awsfake.Start(t)
	s := open(t, testOptions(fake.URL))
	must(t, s.Create(t.Context(), "gone", []byte("v")))
	must(t, s.Create(t.Context(), "kept", []byte("v")))
	fake.FreezeListing()
	must(t, s.Delete(t.Context(), "gone"))
	must(t, s.Create(t.Context(), "new", []byte("v")))
	got, err := s.List(t.Context(), "")
	if err != nil || !slices.Equal(got, []string{"kept", "new"}) {
		t.Fatalf("listed %q, %v", got, err)
	}
}

func TestOwnNewKeyIsReadThoughAWSLagsBehind(t *testing.T) {
	t.Parallel()
	fake := awsfake.Start(t)
	s := open(t, testOptions(fake.URL))
	must(t, s.Create(t.Context(), "k", []byte("v")))
	fake.Inject("GetSecretValue", awsfake.Fault{Code: "ResourceNotFoundException", Times: 2})
	if got, err := s.Get(t.Context(), "k"); err != nil || string(got) != "v" {
		t.Fatalf("got %q, %v", got, err)
	}
}

func TestOneOfRivalCreatesSucceeds(t *testing.T) {
	t.Parallel()
	fake := awsfake.Start(t)
	s := open(t, testOptions(fake.URL))
	var wg sync.WaitGroup
	errs := make([]error, 12)
	for i := range errs {
		wg.Go(func() { errs[i] = s.Create(t.Context(), "k", []byte("same value")) })
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else if !errors.Is(err, kms.ErrKeyExists) {
			t.Errorf("unexpected %v", err)
		}
	}
	if won != 1 {
		t.Fatalf("%d creations succeeded", won)
	}
}

func TestCreateThatFailedAfterStoringSucceeds(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]awsfake.Fault{
		"one lost answer":   {Stored: true, Drop: true, Times: 1},
		"one server error":  {Stored: true, Code: "InternalServiceError", Status: 500, Times: 1},
		"all answers lost":  {Stored: true, Code: "InternalServiceError", Status: 500},
		"strange exception": {Stored: true, Code: "ResourceExistsException"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fake := awsfake.Start(t)
			s := open(t, testOptions(fake.URL))
			fake.Inject("CreateSecret", fault)
			must(t, s.Create(t.Context(), "k", []byte("v")))
			if secret, _ := fake.Secret("k"); secret.String != "v" {
				t.Fatalf("stored %+v", secret)
			}
			fake.Heal()
			wantErr(t, s.Create(t.Context(), "k", []byte("v")), kms.ErrKeyExists)
		})
	}
}

func TestDeleteWhoseAnswerWasLostSucceeds(t *testing.T) {
	t.Parallel()
	fake := awsfake.Start(t)
	s := open(t, testOptions(fake.URL))
	must(t, s.Create(t.Context(), "k", []byte("v")))
	fake.Inject("DeleteSecret", awsfake.Fault{Stored: true, Drop: true, Times: 1})
	must(t, s.Delete(t.Context(), "k"))
}

// A secret that a rival has made under the name since is another one.
func TestRepeatedDeleteSparesARivalsSecret(t *testing.T) {
	t.Parallel()
	fake := awsfake.Start(t)
	opts := testOptions(fake.URL)
	opts.Purge = true // else the name is not free for days
	s, rival := open(t, opts), open(t, testOptions(fake.URL))
	must(t, s.Create(t.Context(), "k", []byte("v")))
	fake.Inject("DeleteSecret", awsfake.Fault{Stored: true, Drop: true, Times: 1, Then: func() {
		if err := rival.Create(t.Context(), "k", []byte("the rival's")); err != nil {
			t.Error(err)
		}
	}})
	must(t, s.Delete(t.Context(), "k"))
	if value, err := rival.Get(t.Context(), "k"); err != nil || string(value) != "the rival's" {
		t.Errorf("the rival's key: %q, %v", value, err)
	}
	if n := fake.Calls("DeleteSecret"); n < 2 {
		t.Errorf("the delete was sent %d times only", n)
	}
}

func TestThrottlingIsRetried(t *testing.T) {
	t.Parallel()
	fake := awsfake.Start(t)
	s := open(t, testOptions(fake.URL))
	must(t, s.Create(t.Context(), "k", []byte("v")))
	fake.Inject("GetSecretValue", awsfake.Fault{Code: "ThrottlingException", Message: "Rate exceeded", Times: 3})
	before := fake.Calls("GetSecretValue")
	if _, err := s.Get(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	if n := fake.Calls("GetSecretValue") - before; n != 4 {
		t.Fatalf("%d calls, want 4", n)
	}
}

func TestErrorsOfAWSAreMapped(t *testing.T) {
	t.Parallel()
	tests := []struct {
		code string
		want error
	}{
		{"ResourceNotFoundException", kms.ErrKeyNotFound},
		{"AccessDeniedException", kms.ErrNotPermitted},
		{"UnrecognizedClientException", kms.ErrNotPermitted},
		{"ExpiredTokenException", kms.ErrNotPermitted},
		{"DecryptionFailure", kms.ErrUnavailable},
		{"InvalidParameterException", kms.ErrUnavailable},
		{"SomethingNew", kms.ErrUnavailable},
	}
	fake := awsfake.Start(t)
	s := open(t, testOptions(fake.URL))
	for _, tt := range tests {
		fake.Inject("GetSecretValue", awsfake.Fault{Code: tt.code, Message: "from AWS"})
		_, err := s.Get(t.Context(), "k")
		wantErr(t, err, tt.want)
		if !strings.Contains(err.Error(), `"k"`) {
			t.Errorf("%s: %q does not name the secret", tt.code, err)
		}
	}
}

func TestSlowStoreIsUnavailableAndCallersContextHolds(t *testing.T) {
	t.Parallel()
	fake := awsfake.Start(t)
	opts := testOptions(fake.URL)
	opts.Timeout = 2 * time.Second // in which also a busy machine opens the store
	s := open(t, opts)
	fake.Inject("GetSecretValue", awsfake.Fault{Delay: 20 * time.Second})
	start := time.Now()
	_, err := s.Get(t.Context(), "k")
	wantErr(t, err, kms.ErrUnavailable)
	if errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the store's own timeout is taken for the caller's: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = s.Get(ctx, "k")
	wantErr(t, err, context.DeadlineExceeded)
	if d := time.Since(start); d > 10*time.Second {
		t.Errorf("took %v", d)
	}
}

func TestStatusMeasuresTheStore(t *testing.T) {
	t.Parallel()
	fake := awsfake.Start(t)
	s := open(t, testOptions(fake.URL))
	fake.Inject("ListSecrets", awsfake.Fault{Delay: 20 * time.Millisecond})
	state, err := s.Status(t.Context())
	if err != nil || state.Latency < 20*time.Millisecond {
		t.Fatalf("got %v, %v", state, err)
	}
	fake.Inject("ListSecrets", awsfake.Fault{Code: "InternalServiceError", Status: 500})
	_, err = s.Status(t.Context())
	wantErr(t, err, kms.ErrUnavailable)
}

func TestErrorsHoldNoValueAndNoCredentials(t *testing.T) {
	t.Parallel()
	fake := awsfake.Start(t)
	opts := testOptions(fake.URL)
	if text := fmt.Sprintf("%v %+v %#v", opts, opts, opts.Credentials); strings.Contains(text, "test-secret-key") || strings.Contains(text, "AKIATEST") {
		t.Errorf("options print credentials: %s", text)
	}
	s := open(t, opts)
	fake.Inject("CreateSecret", awsfake.Fault{Code: "InvalidParameterException", Message: "no"})
	err := s.Create(t.Context(), "k", []byte("the-key-value"))
	wantErr(t, err, kms.ErrUnavailable)
	if strings.Contains(err.Error(), "the-key-value") || strings.Contains(err.Error(), "test-secret-key") {
		t.Errorf("secret in %q", err)
	}
}

// A role without DeleteSecret, or a secret that is not the store's any more, keeps a key whole that
// is to be deleted.
func TestARefusedDeletionKeepsARotatedKey(t *testing.T) {
	t.Parallel()
	for name, refuse := range map[string]func(fake *awsfake.Server){
		"a role without DeleteSecret": func(fake *awsfake.Server) {
			fake.Inject("DeleteSecret", awsfake.Fault{Code: "AccessDeniedException", Message: "no"})
		},
		"a secret with other tags": func(fake *awsfake.Server) {
			secret, _ := fake.Secret("p/k")
			secret.Tags = map[string]string{"app": "another"}
			fake.PutSecret("p/k", secret)
		},
	} {
		fake := awsfake.Start(t)
		opts := testOptions(fake.URL)
		opts.Prefix, opts.Tags = "p/", map[string]string{"app": "bucketseal"}
		s := open(t, opts)
		l, err := kms.NewLocal(kms.LocalOptions{Store: s})
		must(t, err)
		defer l.Close()
		must(t, l.CreateKey(t.Context(), "k"))
		old, err := l.GenerateDEK(t.Context(), "k", nil)
		must(t, err)
		_, err = l.RotateKey(t.Context(), "k", 0)
		must(t, err)
		refuse(fake)
		for range 2 {
			wantErr(t, l.DeleteKey(t.Context(), "k"), kms.ErrNotPermitted)
			wantErr(t, l.ChangeVersion(t.Context(), "k", kms.VersionChange{Action: kms.Destroy, Version: 1, Force: true}), kms.ErrNotPermitted)
		}
		after, err := kms.NewLocal(kms.LocalOptions{Store: open(t, opts)})
		must(t, err)
		defer after.Close()
		if dek, err := after.DecryptDEK(t.Context(), "k", old.Ciphertext, nil); err != nil || dek != old.Plaintext {
			t.Errorf("%s: version 1 afterwards: %v", name, err)
		}
	}
}
