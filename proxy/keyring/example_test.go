package keyring_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/keystore/mem"
	"github.com/bucketseal/bucketseal/proxy/identity"
	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/sse"
)

// onlyDoctors are rights that one identity has.
type onlyDoctors struct{}

func (onlyDoctors) MayUse(_ context.Context, id *identity.Identity, _, _ string, _ identity.Use) error {
	if id.AccessKey != "doctor" {
		return kms.ErrNotPermitted
	}
	return nil
}

// Who may not use a KMS key gets no key to write with, and neither does who did not sign.
func ExampleRing_Make() {
	ctx := context.Background()
	service, err := kms.NewLocal(kms.LocalOptions{Store: mem.New()})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer service.Close()
	if err := service.CreateKey(ctx, "patients"); err != nil {
		fmt.Println(err)
		return
	}
	ring := keyring.New(keyring.Options{KMS: service, Rights: onlyDoctors{}, DefaultKey: "patients", S3Key: "patients"})
	name := sse.Name{Bucket: "ward", Key: "file"}
	for _, accessKey := range []string{"doctor", "visitor", ""} {
		caller := keyring.Caller{}
		if accessKey != "" {
			caller = keyring.As(&identity.Identity{AccessKey: accessKey, Kind: identity.Configured})
		}
		key, err := ring.Make(ctx, caller, name, &sse.Request{Mode: sse.ModeKMS})
		fmt.Printf("%q: a key: %t, not permitted: %t, no access: %t\n", accessKey, key != nil,
			errors.Is(err, kms.ErrNotPermitted), errors.Is(err, keyring.ErrAccess))
		if key != nil {
			key.Zero()
		}
	}
	// Output:
	// "doctor": a key: true, not permitted: false, no access: false
	// "visitor": a key: false, not permitted: true, no access: false
	// "": a key: false, not permitted: false, no access: true
}
