package sts

import (
	"net/http"

	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/proxy/route"
)

// row is one action, served by a handler, and table all of them.
type (
	handler = func(*Service, http.ResponseWriter, *intake.Request) error
	row     = route.Row[handler]
	table   = route.Table[handler]
)

// Routes are the actions of the Security Token Service. Their parameters are in
// the form, or in the query.
func Routes() []route.Row[func(*Service, http.ResponseWriter, *intake.Request) error] {
	common := []string{"Version", "DurationSeconds", "Policy", "RoleArn", "RoleSessionName", "TokenRevokeType"}
	with := func(names ...string) []string { return append(names, common...) }
	return []row{
		{Op: "AssumeRole", Scope: route.Service, Method: "POST", Sub: []string{"Action=AssumeRole"}, Params: with("ExternalId"), Handler: (*Service).assumeRole},
		{Op: "AssumeRoleWithWebIdentity", Scope: route.Service, Method: "POST", Sub: []string{"Action=AssumeRoleWithWebIdentity"}, Params: with("WebIdentityToken", "WebIdentityAccessToken"), Handler: (*Service).assumeRole},
		{Op: "AssumeRoleWithClientGrants", Scope: route.Service, Method: "POST", Sub: []string{"Action=AssumeRoleWithClientGrants"}, Params: with("Token"), Handler: (*Service).assumeRole},
		{Op: "AssumeRoleWithLDAPIdentity", Scope: route.Service, Method: "POST", Sub: []string{"Action=AssumeRoleWithLDAPIdentity"}, Params: with("LDAPUsername", "LDAPPassword"), Handler: (*Service).assumeRole},
		{Op: "AssumeRoleWithCustomToken", Scope: route.Service, Method: "POST", Sub: []string{"Action=AssumeRoleWithCustomToken"}, Params: with("Token"), Handler: (*Service).assumeRole},
		{Op: "AssumeRoleWithCertificate", Scope: route.Service, Method: "POST", Sub: []string{"Action=AssumeRoleWithCertificate"}, Action: route.Refuse, Params: with(), Why: "the client's certificate ends at the proxy, and MinIO would see the proxy's"},
	}
}
