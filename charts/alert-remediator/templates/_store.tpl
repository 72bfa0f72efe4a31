{{/* The claim of the state (sqlite). */}}
{{- define "alert-remediator.claim" -}}
{{- default (printf "%s-state" (include "alert-remediator.fullname" .)) .Values.store.existingClaim -}}
{{- end }}

{{/* What names the state: claim/NAME, or secret/NAME/KEY with the database's URL. */}}
{{- define "alert-remediator.state" -}}
{{- if eq .Values.store.kind "postgres" -}}
{{- printf "secret/%s/%s" .Values.secret.name (toString .Values.secret.keys.DATABASE_URL) -}}
{{- else -}}
{{- printf "claim/%s" (include "alert-remediator.claim" .) -}}
{{- end -}}
{{- end }}

{{/* The same of a pod that is there; empty where it cannot be told. args: the pod's spec */}}
{{- define "alert-remediator.stateOf" -}}
{{- $found := "" -}}
{{- range .containers -}}
{{- if eq .name "remediator" -}}
{{- range .env -}}
{{- if and (eq .name "REMEDIATOR_DATABASE_URL") .valueFrom -}}
{{- $found = printf "secret/%s/%s" .valueFrom.secretKeyRef.name .valueFrom.secretKeyRef.key -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $volume := .volumes -}}
{{- if and (eq .name "state") .persistentVolumeClaim }}{{- $found = printf "claim/%s" .persistentVolumeClaim.claimName -}}{{- end -}}
{{- if and (eq .name "secrets") .secret -}}
{{- range .secret.items -}}
{{- if eq .path "database_url" }}{{- $found = printf "secret/%s/%s" $volume.secret.secretName .key -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $found -}}
{{- end }}

{{/* "true" for an object of this chart, of whatever release and name. args: root, object */}}
{{- define "alert-remediator.ofChart" -}}
{{- if hasPrefix (printf "%s-" .root.Chart.Name) (toString (index (default (dict) .object.metadata.labels) "helm.sh/chart")) }}true{{ end -}}
{{- end }}

{{/* The state of what is there is not left behind unnoticed: incidents, audit trail, approvals and budgets do not move with a value.
What is there is looked up by the chart's labels, as its name is one of the values that may change. */}}
{{- define "alert-remediator.fittingStore" -}}
{{- $wanted := include "alert-remediator.state" . -}}
{{- $here := list -}}{{- $used := list -}}{{- $claims := dict -}}
{{- range $kind := list "Deployment" "StatefulSet" -}}
{{- range (lookup "apps/v1" $kind $.Release.Namespace "").items -}}
{{- if include "alert-remediator.ofChart" (dict "root" $ "object" .) -}}
{{- $state := include "alert-remediator.stateOf" .spec.template.spec -}}
{{- $used = append $used $state -}}
{{- if and $state (eq (index .metadata.labels "app.kubernetes.io/instance") $.Release.Name) }}{{- $here = append $here $state -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range (lookup "v1" "PersistentVolumeClaim" .Release.Namespace "").items }}{{- $_ := set $claims (printf "claim/%s" .metadata.name) . -}}{{- end -}}
{{- $left := $here -}}
{{- $of := "this release keeps its state in" -}}
{{- if not (or $here (hasKey $claims $wanted)) -}}
{{- $of = "an earlier installation left its state in" -}}
{{- range $state, $claim := $claims -}}
{{- if and (include "alert-remediator.ofChart" (dict "root" $ "object" $claim)) (not (has $state $used)) }}{{- $left = append $left $state -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- range $state := $left -}}
{{- if not (or (has $wanted $here) (has $state $.Values.store.leave)) -}}
{{- $keep := ternary (printf "; to keep it set store.kind=sqlite and store.existingClaim=%s" (trimPrefix "claim/" $state)) (printf "; to keep it leave store.kind at postgres, secret.name and secret.keys.DATABASE_URL as they were (another name of the same database loses nothing)") (hasPrefix "claim/" $state) -}}
{{- fail (printf "store: %s %s, and %s would be used instead: incidents, audit trail, approvals and budgets stay behind%s. To go on without it, add it to store.leave: --set 'store.leave={%s}'" $of $state $wanted $keep $state) -}}
{{- end -}}
{{- end -}}
{{- with get $claims $wanted -}}
{{- $marks := default (dict) .metadata.annotations -}}
{{- if and $.Values.store.existingClaim (eq (toString (index $marks "meta.helm.sh/release-name")) $.Release.Name) (ne (toString (index $marks "helm.sh/resource-policy")) "keep") -}}
{{- fail (printf "store.existingClaim: helm made the claim %s with this release and would delete it now, as it is no longer of the chart; before that: kubectl annotate persistentvolumeclaim %s -n %s helm.sh/resource-policy=keep" .metadata.name .metadata.name $.Release.Namespace) -}}
{{- end -}}
{{- end -}}
{{- end }}
