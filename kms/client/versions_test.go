package client_test

import (
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/identity"
)

func TestVersionsAtOurServer(t *testing.T) {
	t.Parallel()
	adminKey, userKey := identity.New(), identity.New()
	url, ca := ourServer(t, adminKey.Identity(), userKey.Identity())
	admin, user := connect(t, url, ca, adminKey), connect(t, url, ca, userKey)
	ctx := t.Context()
	must(t, admin.CreateKey(ctx, "k"))
	old, err := user.GenerateDEK(ctx, "k", nil)
	must(t, err)
	for range 2 { // a repeated request makes no further version
		if n, err := admin.RotateKey(ctx, "k", 1); err != nil || n != 2 {
			t.Fatalf("RotateKey = %d, %v", n, err)
		}
	}
	if n, err := admin.RotateKey(ctx, "k", 0); err != nil || n != 3 {
		t.Fatalf("RotateKey = %d, %v", n, err)
	}
	fresh, err := user.GenerateDEK(ctx, "k", nil)
	if err != nil || kms.CiphertextVersion(fresh.Ciphertext) != 3 {
		t.Errorf("version %d, %v", kms.CiphertextVersion(fresh.Ciphertext), err)
	}
	change := func(action kms.VersionAction, version uint32, after time.Duration, force bool) error {
		return admin.ChangeVersion(ctx, "k", kms.VersionChange{Action: action, Version: version, After: after, Force: force})
	}
	wantErr(t, change(kms.Retire, 1, 0, false), kms.ErrUsageUnknown)
	wantErr(t, change(kms.Retire, 3, 0, true), kms.ErrNewestVersion)
	wantErr(t, change(kms.Retire, 9, 0, true), kms.ErrVersionNotFound)
	must(t, change(kms.Retire, 1, 0, true))
	_, err = user.DecryptDEK(ctx, "k", old.Ciphertext, nil)
	wantErr(t, err, kms.ErrVersionRetired)
	must(t, change(kms.Reinstate, 1, 0, false))
	must(t, change(kms.Destroy, 1, 48*time.Hour, true))
	versions, err := admin.KeyVersions(ctx, "k")
	must(t, err)
	v := versions[0]
	if len(versions) != 3 || v.State != kms.VersionDoomed || time.Until(v.DestroyAt).Round(time.Hour) != 48*time.Hour || v.ChangedBy != admin.Identity() || v.LastGenerate.IsZero() {
		t.Errorf("%+v", versions)
	}
	if versions[2].State != kms.VersionActive || versions[2].CreatedBy != admin.Identity() {
		t.Errorf("%+v", versions[2])
	}
	must(t, change(kms.Destroy, 1, 0, true))
	_, err = user.DecryptDEK(ctx, "k", old.Ciphertext, nil)
	wantErr(t, err, kms.ErrVersionDestroyed)
	wantErr(t, change(kms.Reinstate, 1, 0, false), kms.ErrVersionDestroyed)
	if dek, err := user.DecryptDEK(ctx, "k", fresh.Ciphertext, nil); err != nil || dek != fresh.Plaintext {
		t.Errorf("version 3: %v", err)
	}

	// What a policy for KES allows says nothing of versions.
	_, err = user.RotateKey(ctx, "k", 3)
	wantErr(t, err, kms.ErrNotPermitted)
	_, err = user.KeyVersions(ctx, "k")
	wantErr(t, err, kms.ErrNotPermitted)
	wantErr(t, user.ChangeVersion(ctx, "k", kms.VersionChange{Action: kms.Destroy, Version: 2, Force: true}), kms.ErrNotPermitted)
}

func TestKESKnowsNoVersions(t *testing.T) {
	t.Parallel()
	c := dial(t, startKES(t))
	ctx := t.Context()
	must(t, c.CreateKey(ctx, "k"))
	_, err := c.RotateKey(ctx, "k", 0)
	wantErr(t, err, kms.ErrNotSupported)
	_, err = c.RotateKey(ctx, "k", 1)
	wantErr(t, err, kms.ErrNotSupported)
	_, err = c.KeyVersions(ctx, "k")
	wantErr(t, err, kms.ErrNotSupported)
	wantErr(t, c.ChangeVersion(ctx, "k", kms.VersionChange{Action: kms.Retire, Version: 1, Force: true}), kms.ErrNotSupported)
}
