package objectencryption

import (
	"errors"
	"testing"

	"github.com/bucketseal/bucketseal/sse"
)

func TestParse(t *testing.T) {
	t.Parallel()
	const arn = "arn:aws:kms:us-east-1:123456789012:key/name"
	for _, tt := range []struct {
		document  string
		want      sse.Request
		bucketKey bool
		err       error
	}{
		{`<ObjectEncryption xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><SSE-KMS><KMSKeyArn>` + arn + `</KMSKeyArn></SSE-KMS></ObjectEncryption>`, sse.Request{Mode: sse.ModeKMS, KMSKeyID: arn}, false, nil},
		{"<?xml version=\"1.0\"?>\n<ObjectEncryption>\n<SSE-KMS><BucketKeyEnabled>true</BucketKeyEnabled><KMSKeyArn> k </KMSKeyArn></SSE-KMS>\n</ObjectEncryption>", sse.Request{Mode: sse.ModeKMS, KMSKeyID: "k"}, true, nil},
		{`<ObjectEncryption><SSE-S3/></ObjectEncryption>`, sse.Request{Mode: sse.ModeS3}, false, nil},
		{`<ObjectEncryption><SSE-C/></ObjectEncryption>`, sse.Request{}, false, errOtherType},
		{`<ObjectEncryption><DSSE-KMS><KMSKeyArn>k</KMSKeyArn></DSSE-KMS></ObjectEncryption>`, sse.Request{}, false, errOtherType},
		{`<ObjectEncryption/>`, sse.Request{}, false, errNoType},
		{`<ObjectEncryption><AES256/></ObjectEncryption>`, sse.Request{}, false, errNoType},
		{`<ObjectEncryption><SSE-S3/><SSE-KMS><KMSKeyArn>k</KMSKeyArn></SSE-KMS></ObjectEncryption>`, sse.Request{}, false, errNoType},
		{`<ObjectEncryption><SSE-KMS></SSE-KMS></ObjectEncryption>`, sse.Request{}, false, errNoKey},
		{`<ObjectEncryption><SSE-KMS><KMSKeyArn>k</KMSKeyArn><BucketKeyEnabled>1</BucketKeyEnabled></SSE-KMS></ObjectEncryption>`, sse.Request{}, false, errBucketKey},
		{`<ObjectEncryption><SSE-KMS><KMSKeyArn>a</KMSKeyArn><KMSKeyArn>b</KMSKeyArn></SSE-KMS></ObjectEncryption>`, sse.Request{}, false, errMalformed},
		{`<ServerSideEncryptionConfiguration/>`, sse.Request{}, false, errMalformed},
		{`<ObjectEncryption><SSE-S3/></ObjectEncryption><ObjectEncryption/>`, sse.Request{}, false, errMalformed},
		{`<!DOCTYPE a><ObjectEncryption><SSE-S3/></ObjectEncryption>`, sse.Request{}, false, errMalformed},
		{`<ObjectEncryption xmlns="urn:other"><SSE-S3/></ObjectEncryption>`, sse.Request{}, false, errMalformed},
		{`<ObjectEncryption><SSE-S3/>`, sse.Request{}, false, errMalformed},
		{``, sse.Request{}, false, errMalformed},
	} {
		got, err := Parse([]byte(tt.document))
		if !errors.Is(err, tt.err) || err == nil && tt.err != nil {
			t.Errorf("%s: %v, want %v", tt.document, err, tt.err)
			continue
		}
		if err == nil && (got.Mode != tt.want.Mode || got.KMSKeyID != tt.want.KMSKeyID || (got.BucketKey != nil && *got.BucketKey) != tt.bucketKey) {
			t.Errorf("%s: %+v", tt.document, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`<ObjectEncryption xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><SSE-KMS><KMSKeyArn>k</KMSKeyArn><BucketKeyEnabled>true</BucketKeyEnabled></SSE-KMS></ObjectEncryption>`))
	f.Add([]byte(`<ObjectEncryption><SSE-S3/></ObjectEncryption>`))
	f.Fuzz(func(t *testing.T, document []byte) {
		got, err := Parse(document)
		var wrong *Error
		switch {
		case err != nil && !errors.As(err, &wrong):
			t.Errorf("%v", err)
		case err == nil && got.Mode == sse.ModeKMS && got.KMSKeyID == "", err == nil && got.Mode != sse.ModeKMS && got.Mode != sse.ModeS3:
			t.Errorf("%q: %+v", document, got)
		}
	})
}
