package awssecrets_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awskmssdk "github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/keystore/awskms"
	"github.com/bucketseal/bucketseal/kms/keystore/awskms/awsfake"
	"github.com/bucketseal/bucketseal/kms/keystore/awssecrets"
	"github.com/bucketseal/bucketseal/kms/keystore/keystoretest"
	"github.com/bucketseal/bucketseal/kms/keystore/mem"
)

// TestAgainstMoto runs the stores against a mock that others wrote, so that
// the fake's mistakes do not hide the stores'. One moto serves all of it, as
// starting one takes seconds.
func TestAgainstMoto(t *testing.T) {
	isolate(t)
	endpoint := awsfake.StartMoto(t)
	key, disabled := motoKey(t, endpoint), motoKey(t, endpoint)
	_, err := motoKMS(endpoint).DisableKey(t.Context(), &awskmssdk.DisableKeyInput{KeyId: aws.String(disabled)})
	must(t, err)

	var stores atomic.Int64
	fresh := func(t *testing.T) awssecrets.Options {
		opts := testOptions(endpoint)
		opts.KMSKey = key
		opts.Prefix = fmt.Sprintf("store-%d/", stores.Add(1))
		return opts
	}
	t.Run("secrets manager", func(t *testing.T) {
		opts := fresh(t)
		opts.Tags = map[string]string{"app": "bucketseal", "env": "test"}
		lifecycle(t, open(t, opts))
	})
	// moto looks through all secrets for each call, and a page is of 100.
	const listed = 360
	t.Run("conformance", func(t *testing.T) {
		keystoretest.RunListing(t, listed, func(t *testing.T) kms.Store { return open(t, fresh(t)) })
	})
	t.Run("envelope conformance", func(t *testing.T) {
		keystoretest.RunListing(t, listed, func(t *testing.T) kms.Store {
			s, err := awskms.Open(t.Context(), awskms.Options{
				Inner: mem.New(), Key: key, Endpoint: endpoint, Region: awsfake.Region, Credentials: testOptions("").Credentials,
			})
			must(t, err)
			return s
		})
	})
	t.Run("more than one page", func(t *testing.T) {
		s := open(t, fresh(t))
		var want []string
		for i := range 130 {
			want = append(want, fmt.Sprintf("key-%03d", i))
			must(t, s.Create(t.Context(), want[i], []byte("v")))
		}
		got, err := s.List(t.Context(), "")
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("listed %d names, %v", len(got), err)
		}
	})
	t.Run("envelope", func(t *testing.T) {
		in := open(t, fresh(t))
		s, err := awskms.Open(t.Context(), awskms.Options{
			Inner: in, Key: key, Endpoint: endpoint, Region: awsfake.Region, Credentials: testOptions("").Credentials,
		})
		must(t, err)
		record := kesRecord()
		must(t, s.Create(t.Context(), "sealed", []byte(record)))
		raw, err := in.Get(t.Context(), "sealed")
		if err != nil || !bytes.HasPrefix(raw, []byte("bucketseal.awskms.v1:")) || bytes.Contains(raw, []byte(record)) {
			t.Fatalf("stored %q, %v", raw, err)
		}
		must(t, s.Delete(t.Context(), "sealed"))
		lifecycle(t, s)
	})
	t.Run("startup", func(t *testing.T) {
		for id, text := range map[string]string{"no-such-key": "does not exist", disabled: "state Disabled"} {
			opts := fresh(t)
			opts.KMSKey = id
			_, err := awssecrets.Open(t.Context(), opts)
			if err == nil || !strings.Contains(err.Error(), text) {
				t.Errorf("%s: got %v", id, err)
			}
		}
	})
}

// lifecycle takes a store from empty to empty.
func lifecycle(t *testing.T, s kms.Store) {
	t.Helper()
	ctx := t.Context()
	_, err := s.Get(ctx, "k")
	wantErr(t, err, kms.ErrKeyNotFound)
	wantErr(t, s.Delete(ctx, "k"), kms.ErrKeyNotFound)
	must(t, s.Create(ctx, "k", []byte("value")))
	wantErr(t, s.Create(ctx, "k", []byte("value")), kms.ErrKeyExists)
	got, err := s.Get(ctx, "k")
	if err != nil || string(got) != "value" {
		t.Fatalf("got %q, %v", got, err)
	}
	if names, err := s.List(ctx, ""); err != nil || !slices.Equal(names, []string{"k"}) {
		t.Fatalf("listed %q, %v", names, err)
	}
	_, err = s.Status(ctx)
	must(t, err)
	must(t, s.Delete(ctx, "k"))
	_, err = s.Get(ctx, "k")
	wantErr(t, err, kms.ErrKeyNotFound)
	wantErr(t, s.Create(ctx, "k", []byte("value")), kms.ErrKeyExists) // scheduled for deletion
	if names, err := s.List(ctx, ""); err != nil || len(names) != 0 {
		t.Fatalf("listed %q, %v", names, err)
	}
}

func motoKMS(endpoint string) *awskmssdk.Client {
	return awskmssdk.New(awskmssdk.Options{
		Region: awsfake.Region, BaseEndpoint: aws.String(endpoint),
		Credentials: credentials.NewStaticCredentialsProvider("AKIATEST", "test-secret-key", ""),
	})
}

func motoKey(t *testing.T, endpoint string) string {
	t.Helper()
	out, err := motoKMS(endpoint).CreateKey(t.Context(), &awskmssdk.CreateKeyInput{})
	must(t, err)
	return aws.ToString(out.KeyMetadata.KeyId)
}
