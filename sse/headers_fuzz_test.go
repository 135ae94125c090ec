package sse

import (
	"bytes"
	"crypto/md5" //nolint:gosec // S3 names customer keys by their MD5
	"encoding/base64"
	"errors"
	"testing"
)

// What headers ask for is one mode, whole, or one of the sentinels; a read understands a
// customer key as a write does.
func FuzzRequestHeaders(f *testing.F) {
	key := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, KeySize))
	sum := md5.Sum(bytes.Repeat([]byte{7}, KeySize)) //nolint:gosec // see above
	for set := range byte(128) {
		f.Add(set, "aws:kms", "key", "e30=", "true", "AES256", key, base64.StdEncoding.EncodeToString(sum[:]))
	}
	f.Add(byte(1), "aes256", "", "", "", "", "", "")
	f.Fuzz(func(t *testing.T, set byte, method, id, context, bucketKey, algorithm, key, sum string) {
		h := make(map[string][]string)
		for i, v := range []struct{ name, value string }{
			{HeaderMethod, method},
			{HeaderKMSKeyID, id},
			{HeaderContext, context},
			{HeaderBucketKey, bucketKey},
			{HeaderCustomerAlgorithm, algorithm},
			{HeaderCustomerKey, key},
			{HeaderCustomerKeyMD5, sum},
		} {
			if set&(1<<i) != 0 {
				h[v.name] = []string{v.value}
			}
		}
		got, err := ParseWrite(h)
		read, given, readErr := ParseCustomer(h)
		if given != HasCustomerKey(h) || !given && readErr != nil {
			t.Fatalf("%v: given %v, %v", h, given, readErr)
		}
		if err != nil {
			known := false
			for _, sentinel := range []error{
				ErrMethod, ErrIncompatible, ErrCustomerAlgorithm, ErrCustomerKey, ErrCustomerKeyMissing, ErrCustomerMD5Missing,
				ErrCustomerMD5Mismatch, ErrHeaderContext, ErrBucketKeyValue,
			} {
				known = known || errors.Is(err, sentinel)
			}
			if !known || got.Mode != ModeNone || got.CustomerKey != (Secret{}) {
				t.Fatalf("%v: %v and %v", h, err, got.Mode)
			}
			return
		}
		checkAsked(t, h, got, read)
	})
}

func checkAsked(t *testing.T, h map[string][]string, got, read Request) {
	t.Helper()
	_, hasMethod := h[HeaderMethod]
	raw, _ := base64.StdEncoding.DecodeString(header(h, HeaderContext))
	digest := md5.Sum(got.CustomerKey[:]) //nolint:gosec // see above
	want, _ := base64.StdEncoding.DecodeString(got.CustomerKeyMD5)
	ok := false
	switch got.Mode {
	case ModeNone:
		ok = !hasMethod && !HasCustomerKey(h)
	case ModeS3:
		ok = hasMethod && got.KMSKeyID == "" && got.ClientContext == nil
	case ModeKMS:
		ok = header(h, HeaderMethod) == MethodKMS && bytes.Equal(got.ClientContext, raw) && (got.ClientContext == nil) == (h[HeaderContext] == nil)
	case ModeC:
		ok = !hasMethod && bytes.Equal(digest[:], want) && read.CustomerKey == got.CustomerKey && read.Mode == ModeC
	}
	if !ok || got.Mode != ModeC && got.CustomerKey != (Secret{}) {
		t.Fatalf("%v asks for %v", h, got.Mode)
	}
}

func header(h map[string][]string, name string) string {
	if v := h[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}
