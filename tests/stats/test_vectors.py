"""Which of the vectors of trusted implementations are held, and which wait for their method."""

from __future__ import annotations

from tests.vectors import VECTORS

HELD = {
    "theilsen",
    "theilsen_ties",
    "mk_original_trend",
    "mk_original_trend_ties",
    "mk_original_issue29",
    "mk_hamed_rao_negative_variance",
    "paired_t",
    "acs_diff_N50_alpha0.05",
    "acs_diff_N95_alpha0.05",
    "acs_diff_N500_alpha0.05",
    "acs_diff_N500_alpha0.1",
    "acs_diff_N5000_alpha0.1",
    "acs_big_N5000",
    "acs_big_onesided_greater_N5000",
    "acs_big_N20000",
    "acs_big_onesided_lesser_N20000",
    "acs_rho_0.1",
    "normal_mixture_bound_two_sided_0.05",
    "normal_mixture_bound_two_sided_0.01",
    "merge_cross_moments",  # in tests/test_aggregates.py, and the next
    "gb_naive_sum_squares",
    "multipletests",  # fdr_bh and holm, in tests/drift/test_benjamini_hochberg.py
    "welch_t",
    "welch_t_less",
    "prop_ztest",
    "mcnemar_small",
    "dm_hac_bartlett",
    "dm_hln_h1_bartlett",
    "dm_hln_h2_bartlett",
    "dm_hln_h4_acf",
    "dm_hln_h6_acf",
    "dm_R_forecast_WWWusage",
    "dm_scores_HLN_normal",
    "dm_statsmodels_mse_lags3_h4_hln1",
    "dm_statsmodels_mse_lags0_h1_hln1",
    "dm_statsmodels_mse_lagsNone_h4_hln1",
    "dm_statsmodels_mae_lagsNone_h4_hln1",
    "dm_statsmodels_mae_lagsNone_h1_hln1",
    "tost_mean",
    "power_t",
    "srm_chi2_2",
    "srm_tea_binom_True",
    "srm_tea_norm_False",
    "srm_gb",
    "srm_gb_zero_weight_bug",
    "ssrm_2arms_conc10000",
    "ssrm_2arms_conc100",
    "ssrm_3arms_conc100",
    "ssrm_3arms_conc2",
    "srm_fabijan_example",
    "cuped_tea",
    "cuped_acs",
    "ratio_delta",
    "ratio_cluster_robust",
    "delong_paired",
}

# Modifications of Mann-Kendall that the library does not use: its variance factor is its own (statement and
# simulations in test_trend.py).
NOT_USED = {
    "mk_hamed_rao_trend",
    "mk_yue_wang_trend",
    "mk_tfpw_trend",
    "mk_hamed_rao_lag3_trend_ties",
    "mk_yue_wang_lag1_trend_ties",
    "mk_tfpw_trend_ties",
}

# A defect of statsmodels 0.15, which prop_ztest's score interval shares: evidence in test_proportions.py.
WRONG = {"noninferiority_prop"}

# Without the correction of Harvey, Leybourne and Newbold, which ours always makes; and what later versions may bring.
NOT_DELIVERED = {
    "dm_statsmodels_mae_lagsNone_h1_hln0",
    "brunner_munzel",
    "gb_welch_relative",
    "beta_binomial_bayes",
    "bayes_normal_prior",
    "permutation_paired",
    "dm_scores_HG_normal",
    "cv_5x2_t",
    "corrected_resampled_t",
    "cuped_gb_rel",
    "bootstrap_bca_diff",
    "beta_binomial_mixture_bound",
    "normal_log_mixture_two_sided",
    "msprt_two_stream",
    "bernoulli_cs",
    "predmix_eb_running",
    "conjmix_eb",
    "conjmix_hoeffding",
    "quantile_ab_p",
    "peeking_type1_exact",
    "gst_constants_K5",
    "gst_power_spending_phi2.0_uneq",
    "gst_power_spending_phi3.0_uneq",
    "gst_power_spending_phi1.0_eq",
    "gst_lan_demets_obf_K5",
    "hash_growthbook",
    "post_strat_gb",
}


def test_every_vector_is_held_or_listed() -> None:
    """Every vector is held by a test or listed by its id as not delivered."""
    assert sorted(VECTORS) == sorted(HELD | NOT_USED | WRONG | NOT_DELIVERED)
